package tun

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/descriptor"
	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	maxUnit   = virtioLen + teredo.HeaderLen + maxPayload // what one read can bring
	arenaSize = 2 * maxUnit
	heads     = 128 // packets of one ReadBatch
)

// device is a TUN interface of Linux.
type device struct {
	file     *descriptor.Reader
	vnet     bool // every packet has a virtio header
	offloads Offloads

	// What ReadBatch uses:
	arena     []byte
	heads     [heads][maxHead]byte
	segmenter segmenter
	into      []Packet // what ReadBatch was given
	n         int      // packets in it
	err       error

	writing sync.Mutex
	writer
}

// Open creates a TUN interface. The interface disappears when the device is closed or the process ends. mode tells whether to
// use super-packets of TCP; super-packets of UDP are used with them where the kernel has them. With the mode On, and without
// support in the kernel, the error is ErrNoOffload.
func Open(name string, mode offload.Mode) (Device, error) {
	queues, err := OpenQueues(name, 1, mode)
	if err != nil {
		return nil, err
	}
	return queues[0], nil
}

// OpenQueues is Open with several queues, each of which is a Device. The kernel puts a packet into the queue to which the other
// direction of its flow was written last. If nothing of the flow was written within 3 s, it chooses one by addresses and ports. An
// interface that exists already, because somebody has made it to be kept, has one queue.
func OpenQueues(name string, size int, mode offload.Mode) ([]Device, error) {
	queues, err := openQueues(name, size, mode != offload.Off)
	if mode == offload.Auto && errors.Is(err, ErrNoOffload) {
		return openQueues(name, size, false)
	}
	return queues, err
}

func openQueues(name string, size int, vnet bool) (queues []Device, err error) {
	flags := uint16(0)
	if size > 1 {
		// Without IFF_TUN_EXCL the first one could join an interface of another program, and take packets from that.
		flags = unix.IFF_MULTI_QUEUE | unix.IFF_TUN_EXCL
	}
	for len(queues) < size {
		d, err := open(name, vnet, flags)
		if errors.Is(err, unix.EBUSY) && flags&unix.IFF_TUN_EXCL != 0 {
			return openQueues(name, 1, vnet)
		}
		if err != nil {
			for _, q := range queues {
				q.Close()
			}
			return nil, err
		}
		queues = append(queues, d)
		flags &^= unix.IFF_TUN_EXCL
	}
	return queues, nil
}

func open(name string, vnet bool, flags uint16) (Device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := &device{vnet: vnet}
	err = d.attach(fd, name, flags)
	return d.begin(fd, vnet, err)
}

// Adopt takes over the descriptor of a TUN interface that Open has made, in this process or another one, also when it fails. Each queue
// of OpenQueues has a descriptor. The interface has packets with virtio headers only if it was opened so.
func Adopt(fd int, name string, mode offload.Mode) (Device, error) {
	d := new(device)
	request, err := unix.NewIfreq("")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.TUNGETIFF, request)
	}
	if err == nil && request.Name() != name {
		err = fmt.Errorf("the inherited interface is %s and should be %s", request.Name(), name)
	}
	if err == nil {
		d.vnet = request.Uint16()&unix.IFF_VNET_HDR != 0
		if mode == offload.On && !d.vnet {
			err = ErrNoOffload
		}
	}
	return d.begin(fd, mode != offload.Off, err)
}

// begin sets the offloads, and has the device use the descriptor. If this fails, or err tells of a failure before, the descriptor is
// closed, and an interface that no other process has is gone.
func (d *device) begin(fd int, offloads bool, err error) (Device, error) {
	if err == nil && d.vnet {
		err = d.setOffloads(fd, offloads)
	}
	if err == nil {
		d.arena = make([]byte, arenaSize)
		d.file, err = descriptor.NewReader(fd, d.fill)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	d.udp = d.offloads.UDP
	return d, nil
}

// Share calls use with the descriptor of the interface, which stays open meanwhile.
func (d *device) Share(use func(fd int) error) error { return d.file.Share(use) }

// StopReading ends ReadBatch, as Close does, once what was read is taken. Packets can still be written.
func (d *device) StopReading() error { return d.file.StopReading() }

// attach makes the interface, or joins it.
func (d *device) attach(fd int, name string, flags uint16) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	flags |= unix.IFF_TUN | unix.IFF_NO_PI
	if d.vnet {
		flags |= unix.IFF_VNET_HDR
	}
	request.SetUint16(flags)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
}

// setOffloads turns the offloads of an interface with virtio headers on or off.
func (d *device) setOffloads(fd int, on bool) error {
	if !on {
		return os.NewSyscallError("TUNSETOFFLOAD", unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0))
	}
	const (
		tcp = unix.TUN_F_CSUM | unix.TUN_F_TSO6
		udp = unix.TUN_F_USO4 | unix.TUN_F_USO6 // Linux takes both or none
	)
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp); err != nil {
		return fmt.Errorf("%w: %w", ErrNoOffload, err)
	}
	d.offloads.TCP = true
	d.offloads.UDP = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp|udp) == nil
	return nil
}

func (d *device) Offloads() Offloads { return d.offloads }
func (d *device) Close() error       { return d.file.Close() }

// Follow tells when the packets that were read have been sent (descriptor.Reader.Follow).
func (d *device) Follow(latest func() uint64, sent func(uint64)) { d.file.Follow(latest, sent) }

// ReadBatch implements Device. It reads until no packet is left, or until it has a super-packet's worth of bytes, so that
// many small packets can be sent together.
func (d *device) ReadBatch(ps []Packet) (n int, err error) {
	if d.segmenter.pending() {
		return d.segmenter.next(ps[:min(len(ps), heads)], d.heads[:]), nil
	}
	d.into, d.n, d.err = ps[:min(len(ps), heads)], 0, nil
	if err := d.file.Read(); err != nil {
		return 0, err
	}
	return d.n, d.err
}

// fill reads the packets that wait. It reports whether there were any, or an error.
func (d *device) fill(fd int) bool {
	for used := 0; d.n < len(d.into) && used <= len(d.arena)-maxUnit && !d.segmenter.pending() && d.err == nil; {
		unit := d.arena[used : used+maxUnit]
		// RawSyscall does not tell the runtime, which need not know: the file is non-blocking.
		size, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&unit[0])), maxUnit)
		switch errno {
		case 0:
			used += int(size)
			m, err := d.take(unit[:size], d.into[d.n:], d.heads[d.n:])
			d.n, d.err = d.n+m, err
		case unix.EINTR:
		case unix.EAGAIN:
			return d.n > 0
		default:
			d.err = failed("read", errno)
		}
	}
	return true
}

// take makes packets of the result of one read.
func (d *device) take(unit []byte, ps []Packet, heads [][maxHead]byte) (n int, err error) {
	if !d.vnet {
		ps[0] = Packet{Head: unit}
		return 1, nil
	}
	if err := d.segmenter.start(unit); err != nil {
		return 0, err
	}
	return d.segmenter.next(ps, heads), nil
}

// failed describes a failed system call. EBADFD means that the interface was removed.
func failed(call string, errno syscall.Errno) error {
	if errno == unix.EBADFD {
		return os.ErrClosed
	}
	return os.NewSyscallError(call, errno)
}
