//go:build linux

package main

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// letters is a batch of datagrams, each with its own destination.
type letters struct {
	headers  [burstMost]mmsghdr
	names    [burstMost]unix.RawSockaddrInet6 // or unix.RawSockaddrInet4, which is smaller
	iovecs   [burstMost]unix.Iovec
	controls [burstMost]pktinfo
}

// pktinfo is the control message that chooses an IPv4 source address.
type pktinfo struct {
	unix.Cmsghdr
	unix.Inet4Pktinfo
	_ [4]byte // alignment
}

func newLetters() *letters {
	l := &letters{}
	for i := range l.headers {
		h, c := &l.headers[i], &l.controls[i]
		h.Name = (*byte)(unsafe.Pointer(&l.names[i]))
		h.Iov = &l.iovecs[i]
		h.SetIovlen(1)
		c.Level, c.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		c.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	}
	return l
}

// put makes the i-th datagram, over IPv6. The payload must stay as it is until it is sent.
func (l *letters) put(i int, to netip.AddrPort, payload []byte) {
	l.headers[i].Namelen = setName(&l.names[i], to)
	l.iovecs[i].Base = &payload[0]
	l.iovecs[i].SetLen(len(payload))
}

// putFrom makes the i-th datagram, over IPv4 and from one of the host's addresses.
func (l *letters) putFrom(i int, from [4]byte, to netip.AddrPort, payload []byte) {
	h := &l.headers[i]
	h.Namelen = setName(&l.names[i], to)
	l.controls[i].Spec_dst = from
	h.Control = (*byte)(unsafe.Pointer(&l.controls[i]))
	h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	l.iovecs[i].Base = &payload[0]
	l.iovecs[i].SetLen(len(payload))
}

// send sends the first n datagrams.
func (l *letters) send(s *socket, n int) error { return s.sendAll(l.headers[:n]) }
