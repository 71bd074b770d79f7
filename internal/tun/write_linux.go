package tun

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// writer is the state of WriteBatch, which every batch uses again.
type writer struct {
	coalescer
	header [virtioLen]byte
	iovecs [maxBatch + 1]unix.Iovec
}

// WriteBatch implements Device.
func (d *device) WriteBatch(packets [][]byte) (n int, err error) {
	fd, err := d.file.Acquire()
	if err != nil {
		return 0, err
	}
	defer d.file.Release()
	d.writing.Lock()
	defer d.writing.Unlock()
	for len(packets) > 0 {
		batch := packets[:min(len(packets), maxBatch)]
		packets = packets[len(batch):]
		written, refusal := d.write(fd, batch)
		n += written
		if err == nil {
			err = refusal
		}
	}
	return n, err
}

func (d *device) write(fd int, packets [][]byte) (n int, err error) {
	if !d.vnet {
		for _, p := range packets {
			d.point(0, p)
			if errno := d.writev(fd, 1); errno == 0 {
				n++
			} else if err == nil {
				err = failed("write", errno)
			}
		}
		return n, err
	}
	d.coalesce(packets)
	for i := range d.superPackets[:d.coalescer.n] {
		s := &d.superPackets[i]
		if errno := d.writeSuperPacket(fd, s); errno == 0 {
			n += s.segments
		} else if err == nil {
			err = failed("write", errno)
		}
	}
	return n, err
}

// writeSuperPacket gathers a super-packet: the whole first segment, and the payload of the others.
func (d *device) writeSuperPacket(fd int, s *superPacket) syscall.Errno {
	d.prepare(s).put(d.header[:])
	d.point(0, d.header[:])
	d.point(1, d.packets[s.first])
	i := s.first
	for k := 2; k <= s.segments; k++ {
		i = d.after[i]
		d.point(k, d.packets[i][s.headLen:])
	}
	return d.writev(fd, s.segments+1)
}

func (d *device) point(i int, b []byte) {
	d.iovecs[i].Base = unsafe.SliceData(b)
	d.iovecs[i].SetLen(len(b))
}

// writev writes the first n iovecs as one packet.
func (d *device) writev(fd, n int) syscall.Errno {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&d.iovecs[0])), uintptr(n))
		if errno != unix.EINTR {
			return errno
		}
	}
}
