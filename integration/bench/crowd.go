package main

import (
	"encoding/binary"
	"fmt"
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
	const first, size = 198<<24 | 18<<16, 1 << 17
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], first|uint32(n%size))
	return a
}

// letters is a batch of datagrams that leave from addresses of the crowd.
type letters struct {
	headers  [burstMost]mmsghdr
	names    [burstMost]unix.RawSockaddrInet4
	iovecs   [burstMost]unix.Iovec
	controls [burstMost]pktinfo
}

// pktinfo is the control message that chooses a source address.
type pktinfo struct {
	unix.Cmsghdr
	unix.Inet4Pktinfo
	_ [4]byte // alignment
}

func newLetters() *letters {
	l := &letters{}
	for i := range l.headers {
		h, c := &l.headers[i], &l.controls[i]
		l.names[i].Family = unix.AF_INET
		h.Name = (*byte)(unsafe.Pointer(&l.names[i]))
		h.Namelen = unix.SizeofSockaddrInet4
		h.Iov = &l.iovecs[i]
		h.SetIovlen(1)
		c.Level, c.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		c.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		h.Control = (*byte)(unsafe.Pointer(c))
		h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	}
	return l
}

// put makes the i-th datagram. The payload must stay as it is until it is sent.
func (l *letters) put(i int, from [4]byte, to netip.AddrPort, payload []byte) {
	l.controls[i].Spec_dst = from
	l.names[i].Addr = to.Addr().As4()
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&l.names[i].Port))[:], to.Port())
	l.iovecs[i].Base = &payload[0]
	l.iovecs[i].SetLen(len(payload))
}

// send sends the first n datagrams.
func (l *letters) send(s *socket, n int) error {
	for done := 0; done < n; {
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd),
			uintptr(unsafe.Pointer(&l.headers[done])), uintptr(n-done), 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return fmt.Errorf("send: %w", errno)
		}
		if errno == 0 {
			done += int(sent)
		}
	}
	return nil
}

// mailbox receives batches of datagrams.
type mailbox struct {
	headers [burstMost]mmsghdr
	names   [burstMost]unix.RawSockaddrInet4
	iovecs  [burstMost]unix.Iovec
	buffers [burstMost][2048]byte
}

func newMailbox() *mailbox {
	m := &mailbox{}
	for i := range m.headers {
		h := &m.headers[i]
		h.Name = (*byte)(unsafe.Pointer(&m.names[i]))
		h.Iov = &m.iovecs[i]
		h.SetIovlen(1)
		m.iovecs[i].Base = &m.buffers[i][0]
		m.iovecs[i].SetLen(len(m.buffers[i]))
	}
	return m
}

// receive waits for datagrams, for as long as the socket does, and returns how many came. Payload returns them.
func (m *mailbox) receive(s *socket) int {
	for i := range m.headers {
		m.headers[i].Namelen = unix.SizeofSockaddrInet4
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd),
		uintptr(unsafe.Pointer(&m.headers[0])), burstMost, unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (m *mailbox) payload(i int) []byte { return m.buffers[i][:m.headers[i].len] }
