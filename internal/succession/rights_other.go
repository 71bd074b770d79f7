//go:build !unix

package succession

import (
	"errors"
	"net"
	"os"
)

func write(*net.UnixConn, []byte, int) error       { return errors.ErrUnsupported }
func read(*net.UnixConn, []byte) (*os.File, error) { return nil, errors.ErrUnsupported }
func duplicate(*os.File) (int, error)              { return -1, errors.ErrUnsupported }
