//go:build linux

package main

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// letters is a batch of datagrams, each with its own destination.
type letters struct {
	headers [burstMost]mmsghdr
	names   [burstMost]unix.RawSockaddrInet6 // or unix.RawSockaddrInet4, which is smaller
	iovecs  [burstMost]unix.Iovec
}

func newLetters() *letters {
	l := &letters{}
	for i := range l.headers {
		h := &l.headers[i]
		h.Name = (*byte)(unsafe.Pointer(&l.names[i]))
		h.Iov = &l.iovecs[i]
		h.SetIovlen(1)
	}
	return l
}

// put makes the i-th datagram, over IPv6. The payload must stay as it is until it is sent.
func (l *letters) put(i int, to netip.AddrPort, payload []byte) {
	l.headers[i].Namelen = setName(&l.names[i], to)
	l.iovecs[i].Base = &payload[0]
	l.iovecs[i].SetLen(len(payload))
}

// send sends the first n datagrams.
func (l *letters) send(s *socket, n int) error { return s.sendAll(l.headers[:n]) }
