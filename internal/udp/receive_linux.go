package udp

import (
	"encoding/binary"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	slots    = 16       // units of one recvmmsg
	slotSize = 64 << 10 // bytes; no unit is larger
)

// ReadBatch waits for datagrams and fills Buf, N and Remote of the first n
// messages with them. A datagram that does not fit its message's Buf is
// dropped. After Close the error is net.ErrClosed. Nothing is allocated.
func (c *Conn) ReadBatch(ms []Message) (n int, err error) {
	if len(ms) == 0 {
		return 0, nil
	}
	for {
		if n := c.receiver.take(ms); n > 0 {
			return n, nil
		}
		if err := c.receiver.receive(); err != nil {
			return 0, err
		}
	}
}

// receiver holds what one recvmmsg brought until ReadBatch has handed it out.
// Each slot takes one unit: a datagram, or several of equal size (the last may
// be shorter) from one remote that the kernel coalesced. Slots are copied from,
// as nobody knows beforehand how many messages a unit will fill.
type receiver struct {
	raw   syscall.RawConn
	read  func(fd uintptr) bool // recvmmsg, bound once because a closure allocates
	errno syscall.Errno

	filled int // slots that hold a unit
	slot   int // the slot to take from
	offset int // bytes of it that were taken

	headers  [slots]mmsghdr
	names    [slots]unix.RawSockaddrInet4
	iovecs   [slots]unix.Iovec
	controls [slots]control
	buffers  []byte
}

func newReceiver(raw syscall.RawConn) *receiver {
	r := &receiver{raw: raw, buffers: make([]byte, slots*slotSize)}
	r.read = r.recvmmsg
	for i := range r.headers {
		h := &r.headers[i]
		r.iovecs[i].Base = &r.buffers[i*slotSize]
		r.iovecs[i].SetLen(slotSize)
		h.Iov = &r.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Control = (*byte)(unsafe.Pointer(&r.controls[i]))
		r.reset(h)
	}
	return r
}

// reset makes a header ready for recvmmsg, which overwrites these lengths.
func (r *receiver) reset(h *mmsghdr) {
	h.Namelen = unix.SizeofSockaddrInet4
	h.SetControllen(unix.CmsgSpace(4))
}

// receive waits for at least one unit.
func (r *receiver) receive() error {
	for i := range r.filled {
		r.reset(&r.headers[i])
	}
	r.filled, r.slot, r.offset = 0, 0, 0
	if err := r.raw.Read(r.read); err != nil {
		return err
	}
	if r.errno != 0 {
		return os.NewSyscallError("recvmmsg", r.errno)
	}
	return nil
}

// recvmmsg fills the slots; it returns false when there is nothing to read.
func (r *receiver) recvmmsg(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd,
			uintptr(unsafe.Pointer(&r.headers[0])), slots, unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EAGAIN:
			return false
		case retryable(errno):
			continue
		case errno == 0:
			r.filled = int(n)
		}
		r.errno = errno
		return true
	}
}

// take moves datagrams from the slots to ms and returns how many.
func (r *receiver) take(ms []Message) int {
	n := 0
	for n < len(ms) && r.slot < r.filled {
		remote := r.remote()
		datagram := r.next()
		if len(datagram) > len(ms[n].Buf) {
			continue
		}
		ms[n].N = copy(ms[n].Buf, datagram)
		ms[n].Remote = remote
		n++
	}
	return n
}

// next returns the next datagram of the current slot, and leaves the slot
// when that was the last.
func (r *receiver) next() []byte {
	start := r.slot * slotSize
	unit := r.buffers[start : start+int(r.headers[r.slot].len)]
	end := min(r.offset+r.segmentSize(len(unit)), len(unit))
	datagram := unit[r.offset:end]
	if r.offset = end; end == len(unit) {
		r.slot, r.offset = r.slot+1, 0
	}
	return datagram
}

// segmentSize returns the size of the datagrams that were coalesced in the
// current slot, or all, the size of the unit, when none were.
func (r *receiver) segmentSize(all int) int {
	c := &r.controls[r.slot]
	if int(r.headers[r.slot].Controllen) < unix.CmsgLen(4) || c.Level != unix.SOL_UDP || c.Type != unix.UDP_GRO {
		return all
	}
	if size := int(binary.NativeEndian.Uint32(c.value[:])); size > 0 {
		return size
	}
	return all
}

func (r *receiver) remote() netip.AddrPort {
	name := &r.names[r.slot]
	return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), networkOrder(name.Port))
}
