package udp

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/offload"
)

// maxMessages is how many messages one sendmmsg may have.
const maxMessages = 128

// WriteBatch sends every message to its Remote, in order, and returns how
// many were sent. A message the kernel refuses is skipped: err is the first
// refusal, ErrRemote or a syscall.Errno. It is not wrapped, because nothing is
// allocated. WriteBatch waits while the socket's send buffer is full; after
// Close the error is net.ErrClosed.
func (c *Conn) WriteBatch(ms []Message) (n int, err error) {
	fd, err := c.file.Acquire()
	if err != nil {
		return 0, closed(err)
	}
	defer c.file.Release()
	if len(ms) == 1 && sendAlone(fd, &ms[0]) {
		return 1, nil
	}
	s := c.senders.Get().(*sender)
	n, err = s.send(fd, ms)
	c.senders.Put(s)
	return n, err
}

// sendAlone sends a message that is in one piece, without headers for sendmmsg. It reports whether the kernel took it.
func sendAlone(fd int, m *Message) bool {
	if len(m.Tail) > 0 || !sendable(m.Remote) {
		return false
	}
	name := sockaddr{family: unix.AF_INET}
	name.set(m.Remote)
	// RawSyscall6 does not tell the runtime, which need not know: this call does not wait.
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(m.Buf))), uintptr(m.N),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&name)), unix.SizeofSockaddrInet4)
	return errno == 0
}

// sender packs messages into headers for sendmmsg. Each header is one unit: a
// message, or a burst of consecutive ones that one UDP_SEGMENT send can carry.
type sender struct {
	conn    *Conn
	sent    int   // messages sent by this call of send
	refusal error // the first one

	packed int           // units
	head   int           // the first unit not yet sent
	passed int           // units that the last sendmmsg sent
	errno  syscall.Errno // its error

	headers  [maxMessages]mmsghdr
	sizes    [maxMessages]int // messages in each unit
	names    [maxMessages]sockaddr
	controls [maxMessages]control
	iovecs   [2 * maxMessages]unix.Iovec // Buf and Tail of each message
}

func newSender(c *Conn) *sender {
	s := &sender{conn: c}
	for i := range s.headers {
		h, name, c := &s.headers[i], &s.names[i], &s.controls[i]
		name.family = unix.AF_INET
		h.Name = (*byte)(unsafe.Pointer(name))
		h.Namelen = unix.SizeofSockaddrInet4
		c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.CmsgLen(2))
	}
	return s
}

// send sends ms. Its error is the first refusal, or what ended it early.
func (s *sender) send(fd int, ms []Message) (sent int, err error) {
	s.sent, s.refusal = 0, nil
	alone := 0 // messages at the head of ms that must not share a unit
	for len(ms) > 0 {
		if !sendable(ms[0].Remote) {
			s.refuse(ErrRemote)
			ms = ms[1:]
			continue
		}
		if !s.conn.gso.Load() {
			alone = len(ms)
		}
		s.pack(ms, alone)
		done, burst, err := s.flush(fd)
		if err != nil {
			return s.sent, err
		}
		ms, alone = ms[done:], burst
	}
	return s.sent, s.refusal
}

// pack makes units of the head of ms, up to an unsendable remote or until the
// headers' arrays are full.
func (s *sender) pack(ms []Message, alone int) {
	s.packed, s.head = 0, 0
	for i := 0; i < min(len(ms), maxMessages) && sendable(ms[i].Remote); {
		n := 1
		if i >= alone {
			n = burst(ms[i:min(len(ms), maxMessages)])
		}
		s.add(ms[i:i+n], s.iovecs[2*i:])
		i += n
	}
}

// burst returns how many messages at the head of ms may leave as one unit:
// those to one remote, of equal size but for the last, which may be shorter.
// An empty datagram cannot be part of one.
//
// As the Don't Fragment bit is clear, IPv4 identifications must not repeat soon
// (RFC 6864 §4.3). The kernel increments them within a burst, but the next burst
// to the same address starts only one further on. That matters only where a path
// both fragments datagrams and loses fragments: fragments of different datagrams
// are then reassembled, the UDP checksum finds that, and more datagrams are lost.
func burst(ms []Message) int {
	first := &ms[0]
	size := first.size()
	total := size
	for n := 1; n < len(ms); n++ {
		m := &ms[n]
		next := m.size()
		total += next
		if n == maxSegments || next == 0 || next > size || total > maxPayload || m.Remote != first.Remote {
			return n
		}
		if next < size {
			return n + 1
		}
	}
	return len(ms)
}

// add makes ms the next unit.
func (s *sender) add(ms []Message, iovecs []unix.Iovec) {
	pieces := 0
	point := func(b []byte) {
		iovecs[pieces].Base = unsafe.SliceData(b)
		iovecs[pieces].SetLen(len(b))
		pieces++
	}
	for i := range ms {
		point(ms[i].Buf[:ms[i].N])
		if len(ms[i].Tail) > 0 {
			point(ms[i].Tail)
		}
	}
	u := s.packed
	s.packed++
	s.sizes[u] = len(ms)

	s.names[u].set(ms[0].Remote)

	h := &s.headers[u]
	h.Iov = &iovecs[0]
	h.SetIovlen(pieces)
	h.Control = nil
	h.SetControllen(0)
	if len(ms) > 1 {
		c := &s.controls[u]
		binary.NativeEndian.PutUint16(c.value[:], uint16(ms[0].size()))
		h.Control = (*byte)(unsafe.Pointer(c))
		h.SetControllen(unix.CmsgSpace(2))
	}
}

// flush sends the units. It returns how many messages it is done with, and,
// when it stopped before a burst that was refused, how many are in that.
func (s *sender) flush(fd int) (done, burst int, err error) {
	for s.head < s.packed {
		if err := s.sendUnits(fd); err != nil {
			return done, 0, err
		}
		for range s.passed {
			done += s.sizes[s.head]
			s.sent += s.sizes[s.head]
			s.head++
		}
		if s.errno == 0 {
			continue
		}
		if n := s.sizes[s.head]; n > 1 {
			s.burstRefused()
			return done, n, nil
		}
		s.refuse(s.errno)
		s.head++
		done++
	}
	return done, 0, nil
}

// burstRefused handles that the kernel refused a UDP_SEGMENT send, whose
// datagrams are then sent one by one. EIO means that this device or route
// cannot do it at all, so it is not tried again, unless it is demanded. Other
// errors tell nothing about the next burst. EMSGSIZE and EINVAL mean a path MTU
// smaller than the datagrams, which leave one by one as fragments. As ICMP can
// lower a path MTU, these errors must not slow down every other remote for good.
func (s *sender) burstRefused() {
	if s.errno == unix.EIO && s.conn.options.GSO != offload.On {
		s.conn.gso.Store(false)
	}
}

func (s *sender) refuse(err error) {
	if s.refusal == nil {
		s.refusal = err
	}
}

// sendUnits sends one unit or more, and waits for room to do so. Afterwards
// either passed is not 0, or errno is why the first unit was refused.
func (s *sender) sendUnits(fd int) error {
	for {
		// RawSyscall6 does not tell the runtime, which need not know: this call does not wait.
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&s.headers[s.head])), uintptr(s.packed-s.head), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			s.passed, s.errno = int(n), 0
			return nil
		case unix.EINTR:
		case unix.EAGAIN:
			if err := s.conn.file.Wait(unix.POLLOUT); err != nil {
				return closed(err)
			}
		default:
			s.passed, s.errno = 0, errno
			return nil
		}
	}
}
