//go:build linux

package main

import (
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	payloadSize  = 512                  // of the UDP datagrams that are to go to a crowd
	encapsulated = payloadSize + 8 + 40 // with their UDP and IPv6 headers
)

// round is datagrams of one size for many destinations in turn. All is made before it is needed, so that sending takes
// little more than the kernel's time.
type round struct {
	names   []unix.RawSockaddrInet6 // or unix.RawSockaddrInet4, which is smaller
	next    int
	iovec   unix.Iovec
	headers [burstMost]mmsghdr
}

func newRound(to []netip.AddrPort, size int) *round {
	r := &round{names: make([]unix.RawSockaddrInet6, len(to))}
	r.iovec.Base = unsafe.SliceData(make([]byte, size))
	r.iovec.SetLen(size)
	var nameSize uint32
	for i, a := range to {
		nameSize = setName(&r.names[i], a)
	}
	for i := range r.headers {
		h := &r.headers[i]
		h.Namelen = nameSize
		h.Iov = &r.iovec
		h.SetIovlen(1)
	}
	return r
}

// send sends a datagram to each of the next n destinations.
func (r *round) send(s *socket, n int) error {
	for i := range n {
		r.headers[i].Name = (*byte)(unsafe.Pointer(&r.names[r.next]))
		if r.next++; r.next == len(r.names) {
			r.next = 0
		}
	}
	return s.sendAll(r.headers[:n])
}

// relayIPv6 is the relay host's own address in the lab.
const relayIPv6 = "2001:db8:2::1"

// forwarder is what remains of a relay without its rules: for each datagram that comes over IPv6 it sends one over IPv4, as
// large as if it had encapsulated the other.
type forwarder struct {
	in, out *socket
	used    atomic.Int64 // nanoseconds of its thread's processor time since start
}

func newForwarder(h *lab.Host) (f *forwarder, err error) {
	f = &forwarder{}
	if f.in, err = openSocket(h, netip.AddrPortFrom(netip.MustParseAddr(relayIPv6), 0)); err != nil {
		return nil, err
	}
	f.out, err = openSocket(h, netip.AddrPortFrom(netip.MustParseAddr(lab.RelayAddr), 0))
	return f, err
}

// processorTime is what it has used since its start, as of the last packets.
func (f *forwarder) processorTime() (time.Duration, error) { return time.Duration(f.used.Load()), nil }

// start lets it send to the destinations of a round, until the function it returns is called.
func (f *forwarder) start(r *round) (stop func() error) {
	var stopped atomic.Bool
	result := make(chan error, 1)
	f.used.Store(0)
	go func() {
		runtime.LockOSThread() // for threadTime
		in := newMailbox()
		begun, err := threadTime()
		for now := begun; err == nil && !stopped.Load(); f.used.Store(int64(now - begun)) {
			if err = r.send(f.out, in.receive(f.in)); err == nil {
				now, err = threadTime()
			}
		}
		result <- err
	}()
	return func() error {
		stopped.Store(true)
		return <-result
	}
}
