//go:build linux

package main

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
)

// crowdRange are the public IPv4 addresses of many clients at once, all on one host. It is the range that RFC 2544 has
// for benchmarks.
const crowdRange = "198.18.0.0/15"

const (
	crowdRouter = "100.64.0.1"
	crowdHost   = "100.64.0.2"
)

// crowd is a host that plays many clients: it sends from, and receives at, every address of crowdRange.
type crowd struct{ *lab.Host }

func (s *scene) addCrowd() (*crowd, error) {
	h, err := s.AddHost("inet", "crowd", crowdRouter+"/30", crowdHost+"/30")
	if err != nil {
		return nil, err
	}
	if _, err := s.Host("inet").Run(patience, "ip", "route", "add", crowdRange, "via", crowdHost); err != nil {
		return nil, err
	}
	if _, err := h.Run(patience, "ip", "route", "add", "local", crowdRange, "dev", "lo"); err != nil {
		return nil, err
	}
	return &crowd{h}, nil
}

// crowdAddr is the n-th address of crowdRange.
func crowdAddr(n int) [4]byte {
	const first = 198<<24 | 18<<16
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], first|uint32(n%onePort))
	return a
}

const (
	onePort     = 1 << 17 // addresses in crowdRange, and so clients with the same port
	clientPorts = 8       // from firstPort on
	firstPort   = 40000
)

// mapped is the endpoint of the n-th client.
func mapped(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(crowdAddr(n)), uint16(firstPort+n/onePort%clientPorts))
}

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

// putFrom makes the i-th datagram, over IPv4 and from an address of the crowd.
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
