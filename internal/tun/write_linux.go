package tun

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// writer is what writing needs, reused from batch to batch.
type writer struct {
	coalescer
	header [virtioLen]byte
	iovecs [maxPieces + 1]unix.Iovec
}

// WriteBatch is of Device.
func (d *device) WriteBatch(packets [][]byte) (n int, err error) {
	fd, err := d.file.Acquire()
	if err != nil {
		return 0, err
	}
	defer d.file.Release()
	d.writing.Lock()
	defer d.writing.Unlock()
	for len(packets) > 0 {
		batch := packets[:min(len(packets), maxPieces)]
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
	d.gather(packets)
	for i := range d.runs[:d.coalescer.n] {
		r := &d.runs[i]
		if errno := d.writeRun(fd, r); errno == 0 {
			n += r.pieces
		} else if err == nil {
			err = failed("write", errno)
		}
	}
	return n, err
}

// writeRun writes a run as one packet: the first whole, of the others the payload.
func (d *device) writeRun(fd int, r *run) syscall.Errno {
	d.finish(r).put(d.header[:])
	d.point(0, d.header[:])
	d.point(1, d.packets[r.first])
	i := r.first
	for k := 2; k <= r.pieces; k++ {
		i = d.after[i]
		d.point(k, d.packets[i][r.headLen:])
	}
	return d.writev(fd, r.pieces+1)
}

func (d *device) point(i int, b []byte) {
	d.iovecs[i].Base = unsafe.SliceData(b)
	d.iovecs[i].SetLen(len(b))
}

// writev writes the first n pieces as one packet.
func (d *device) writev(fd, n int) syscall.Errno {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&d.iovecs[0])), uintptr(n))
		if errno != unix.EINTR {
			return errno
		}
	}
}
