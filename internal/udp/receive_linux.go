package udp

import (
	"encoding/binary"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	slots = 64 // units of one recvmmsg
	// slotSize is more than the largest unit. It is no power of two, which spreads the slots over the sets of the processor's
	// caches.
	slotSize = 64<<10 + 4<<10 + 192
	// batchBytes is how many bytes one recvmmsg should bring. With more, the first would have left the processor's cache
	// before they are read.
	batchBytes = 4 * slotSize
)

// ReadBatch waits for datagrams and fills the first n messages with them.
// Their bytes belong to the Conn and are valid until the next call. After Close
// the error is net.ErrClosed. Nothing is allocated.
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

// Follow tells when the datagrams that were read are delivered (descriptor.Reader.Follow).
func (c *Conn) Follow(latest func() uint64, delivered func(uint64)) { c.file.Follow(latest, delivered) }

// receiver holds the result of one recvmmsg until ReadBatch has returned all of it.
// Each slot takes one unit: a datagram, or several of equal size (the last may
// be shorter) from one remote that the kernel coalesced.
type receiver struct {
	limit  int           // slots for the next recvmmsg
	errno  syscall.Errno // of the last recvmmsg
	filled int           // slots that hold a unit
	slot   int           // the slot to take from
	offset int           // bytes of it that were taken

	headers  [slots]mmsghdr
	names    [slots]sockaddr
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

// receive fills the slots with the datagrams that wait. It reports whether there were any, or an error.
func (r *receiver) receive(fd int) bool {
	for i := range r.filled {
		r.reset(&r.headers[i])
	}
	r.filled, r.slot, r.offset = 0, 0, 0
	for {
		// RawSyscall6 does not tell the runtime, which need not know: this call does not wait.
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

// adjust has the next recvmmsg bring about batchBytes, if its units are as long as the last ones.
func (r *receiver) adjust() {
	bytes := 0
	for i := range r.filled {
		bytes += int(r.headers[i].len)
	}
	r.limit = min(slots, max(1, r.filled*batchBytes/max(bytes, 1)))
}

// take fills ms with datagrams from the slots and returns how many.
func (r *receiver) take(ms []Message) int {
	n := 0
	for n < len(ms) && r.slot < r.filled {
		remote := r.names[r.slot].addrPort()
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
