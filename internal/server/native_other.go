//go:build !linux

package server

import (
	"errors"
	"fmt"
)

// openRaw fails: other systems do not let a program set the header of the IPv6 packets it sends.
func openRaw() (nativeSender, error) {
	return nil, fmt.Errorf("opening a raw IPv6 socket: %w", errors.ErrUnsupported)
}
