//go:build !linux

package server

import (
	"errors"
	"fmt"
)

// openRaw fails: on other systems a program cannot set the IPv6 header of what it sends.
func openRaw() (nativeSender, error) {
	return nil, fmt.Errorf("opening a raw IPv6 socket: %w", errors.ErrUnsupported)
}
