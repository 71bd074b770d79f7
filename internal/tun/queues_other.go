//go:build !linux

package tun

import "github.com/teredo-suite/teredo/internal/offload"

// OpenQueues is Open: an interface of this system has one queue.
func OpenQueues(name string, _ int, mode offload.Mode) ([]Device, error) {
	d, err := Open(name, mode)
	if err != nil {
		return nil, err
	}
	return []Device{d}, nil
}
