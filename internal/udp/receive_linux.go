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
	slots = 64 // units of one recvmmsg
	// slotSize is more than the largest unit. As no power of two, it spreads the slots over the sets of the processor's caches.
	slotSize = 64<<10 + 4<<10 + 192
	// budget is how many bytes one recvmmsg should bring. More of them would have left the processor's cache before they
	// are looked at.
	budget = 4 * slotSize
)

// ReadBatch waits for datagrams and fills the first n messages with them.
// Their bytes are the Conn's, and valid until the next call. After Close the
// error is net.ErrClosed. Nothing is allocated.
func (c *Conn) ReadBatch(ms []Message) (n int, err error) {
	if len(ms) == 0 {
		return 0, nil
	}
	r := c.receiver
	if n := r.take(ms); n > 0 {
		return n, nil
	}
	if err := c.file.Read(); err != nil {
		return 0, closed(err)
	}
	if r.errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", r.errno)
	}
	return r.take(ms), nil
}

// receiver holds what one recvmmsg brought until ReadBatch has handed it out.
// Each slot takes one unit: a datagram, or several of equal size (the last may
// be shorter) from one remote that the kernel coalesced.
type receiver struct {
	limit  int           // slots for the next recvmmsg
	errno  syscall.Errno // of the last recvmmsg
	filled int           // slots that hold a unit
	slot   int           // the slot to take from
	offset int           // bytes of it that were taken

	headers  [slots]mmsghdr
	names    [slots]unix.RawSockaddrInet4
	iovecs   [slots]unix.Iovec
	controls [slots]control
	buffers  []byte
}

func newReceiver() *receiver {
	r := &receiver{limit: slots, buffers: make([]byte, slots*slotSize)}
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

// receive fills the slots with what is there, and reports whether there was anything, or an error.
func (r *receiver) receive(fd int) bool {
	for i := range r.filled {
		r.reset(&r.headers[i])
	}
	r.filled, r.slot, r.offset = 0, 0, 0
	for {
		// Without the runtime's hooks of a system call that may take its time: this one does not wait.
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&r.headers[0])), uintptr(r.limit), unix.MSG_DONTWAIT, 0, 0)
		if retryable(errno) {
			continue
		}
		if r.errno = errno; errno == 0 {
			r.filled = int(n)
			r.adjust()
		}
		return errno != unix.EAGAIN
	}
}

// adjust has the next recvmmsg bring about as much as the budget, if its units are like the last ones.
func (r *receiver) adjust() {
	bytes := 0
	for i := range r.filled {
		bytes += int(r.headers[i].len)
	}
	r.limit = min(slots, max(1, r.filled*budget/max(bytes, 1)))
}

// take hands out datagrams of the slots and returns how many.
func (r *receiver) take(ms []Message) int {
	n := 0
	for n < len(ms) && r.slot < r.filled {
		remote := r.remote()
		datagram := r.next()
		ms[n] = Message{Buf: datagram, N: len(datagram), Remote: remote}
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
	datagram := unit[r.offset:end:end]
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
