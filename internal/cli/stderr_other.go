//go:build !linux

package cli

import (
	"errors"
	"os"
)

func takeStderr(int) (*os.File, error) { return nil, errors.ErrUnsupported }
