//go:build !linux

package tun

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/teredo-suite/teredo/internal/offload"
)

// Open fails: only Linux devices are supported.
func Open(string, offload.Mode) (Device, error) {
	return nil, fmt.Errorf("TUN interfaces on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
