//go:build linux

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mailbox receives batches of units: a datagram each, or several of one size (the last may be shorter) on a socket that joins
// bursts. Of a unit that is longer than its buffer it keeps the beginning.
type mailbox struct {
	headers  [burstMost]mmsghdr
	iovecs   [burstMost]unix.Iovec
	controls [burstMost]segmentSize
	buffers  [burstMost][2048]byte
}

// segmentSize is the control message UDP_GRO, which comes with a unit of several datagrams.
type segmentSize struct {
	unix.Cmsghdr
	bytes int32
	_     [4]byte // alignment
}

const segmentSizeLen = 4 // of its data

func newMailbox() *mailbox {
	m := &mailbox{}
	for i := range m.headers {
		h := &m.headers[i]
		h.Iov = &m.iovecs[i]
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&m.controls[i]))
		m.iovecs[i].Base = &m.buffers[i][0]
		m.iovecs[i].SetLen(len(m.buffers[i]))
	}
	return m
}

// receive waits for units, for as long as the socket does, and returns how many came. Payload returns them.
func (m *mailbox) receive(s *socket) int { return m.take(s, unix.MSG_WAITFORONE) }

// poll is receive without the wait.
func (m *mailbox) poll(s *socket) int { return m.take(s, unix.MSG_DONTWAIT) }

func (m *mailbox) take(s *socket, flags uintptr) int {
	for i := range m.headers {
		// The kernel has overwritten it with what the last unit had.
		m.headers[i].SetControllen(unix.CmsgSpace(segmentSizeLen))
	}
	for {
		// MSG_TRUNC has the kernel say how long a unit is that the buffer does not hold.
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd),
			uintptr(unsafe.Pointer(&m.headers[0])), burstMost, flags|unix.MSG_TRUNC, 0, 0)
		switch errno {
		case 0:
			return int(n)
		case unix.EINTR: // the runtime's signals
		default:
			return 0
		}
	}
}

// payload is that of the first datagram of the i-th unit.
func (m *mailbox) payload(i int) []byte {
	return m.buffers[i][:min(m.datagramSize(i), len(m.buffers[i]))]
}

// datagrams counts those in the first n units.
func (m *mailbox) datagrams(n int) (count int) {
	for i := range n {
		count += datagramsIn(int(m.headers[i].len), m.datagramSize(i))
	}
	return count
}

// datagramSize is the size of all datagrams of the i-th unit but the last, which may be shorter.
func (m *mailbox) datagramSize(i int) int {
	h, c := &m.headers[i], &m.controls[i]
	joined := int(h.Controllen) >= unix.CmsgLen(segmentSizeLen) && c.Level == unix.SOL_UDP && c.Type == unix.UDP_GRO
	if joined && c.bytes > 0 {
		return min(int(c.bytes), int(h.len))
	}
	return int(h.len)
}

// datagramsIn is the number of datagrams of a size in a unit of a length, which is one when it is empty.
func datagramsIn(length, size int) int {
	if length == 0 {
		return 1
	}
	return (length + size - 1) / size
}
