//go:build !linux

package tun

import (
	"errors"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/teredo-suite/teredo/internal/offload"
)

// Open creates a TUN interface. It is gone when the device is closed, or its process dies. This system has no
// super-packets.
func Open(name string, mode offload.Mode) (Device, error) {
	if mode == offload.On {
		return nil, errors.New("this system has no offload for TUN interfaces; use --tun-offload=auto or off")
	}
	const mtu = 1280
	dev, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return nil, err
	}
	return wrap(dev), nil
}
