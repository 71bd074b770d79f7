//go:build !linux

package kernelpath

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// Path is the kernel's path between one TUN device and one UDP port.
type Path struct{}

// Open fails: only Linux has such a path.
func Open(string, netip.AddrPort, int, teredo.NativePrefixes, *slog.Logger) (*Path, error) {
	return nil, errors.New("there is a kernel path on Linux only")
}

func (*Path) Add(Flow, netip.AddrPort, time.Time) (bool, error) { return false, nil }
func (*Path) Shut(Flow) error                                   { return nil }
func (*Path) Remove(Flow) error                                 { return nil }
func (*Path) Usage(Flow) (Usage, error)                         { return Usage{}, nil }
func (*Path) Failed() (uint64, error)                           { return 0, nil }
func (*Path) Capacity() int                                     { return 0 }
func (*Path) Send([]byte) error                                 { return nil }
func (*Path) Follow(Direction) (latest func() uint64, done func(uint64), err error) {
	return nil, nil, errors.ErrUnsupported
}
func (*Path) Close() error { return nil }
