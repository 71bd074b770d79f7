//go:build !linux

package udp

import (
	"errors"
	"net/netip"

	"github.com/teredo-suite/teredo/internal/offload"
)

// refuse is the error of a demand for offloads, which this system does not have.
func (o Options) refuse() error {
	switch {
	case o.GSO == offload.On:
		return ErrNoGSO
	case o.GRO == offload.On:
		return ErrNoGRO
	}
	return nil
}

// Adopt and Share are for Linux.
func Adopt(int, Options) (*Conn, error) { return nil, errors.ErrUnsupported }

func (*Conn) Share(func(fd int) error) error { return errors.ErrUnsupported }

// ListenGroup is Listen: this system cannot spread remotes over several sockets.
func ListenGroup(local netip.AddrPort, _ int, o Options) ([]*Conn, error) {
	c, err := Listen(local, o)
	if err != nil {
		return nil, err
	}
	return []*Conn{c}, nil
}

// WriteBatch sends every message to its Remote, in order, and returns how
// many were sent. A message the system refuses is skipped: err is the first
// refusal, such as ErrRemote. After Close the error is net.ErrClosed.
func (c *Conn) WriteBatch(ms []Message) (n int, err error) {
	for i := range ms {
		refusal := c.write(&ms[i])
		if refusal == nil {
			n++
		} else if err == nil {
			err = refusal
		}
	}
	return n, err
}

// Offloads tells which offloads are in use: none.
func (c *Conn) Offloads() Offloads { return Offloads{} }

// LocalAddr returns the address and port the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }
