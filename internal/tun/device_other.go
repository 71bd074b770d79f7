//go:build !linux && !darwin && !freebsd && !openbsd

package tun

import "github.com/teredo-suite/teredo/internal/offload"

// Open fails with ErrNoDevices.
func Open(string, offload.Mode) (Device, error) { return nil, ErrNoDevices }

// Adopt fails with ErrNoDevices.
func Adopt(int, string, offload.Mode) (Device, error) { return nil, ErrNoDevices }
