package natsim

import (
	"os"
	"slices"
	"sync"

	"github.com/teredo-suite/teredo/internal/tun"
)

// deviceQueue is how many packets a TUN device holds for its reader, Linux' default.
const deviceQueue = 500

// Device is a TUN device. What is written to it is delivered to a stack or to the native internet.
type Device struct {
	in        *Internet
	id        int
	name      string
	deliver   func(packet []byte)
	queue     chan []byte
	closed    chan struct{}
	closeOnce sync.Once
}

func (in *Internet) newDevice(name string, deliver func(packet []byte)) *Device {
	return &Device{
		in: in, id: in.id(), name: name, deliver: deliver,
		queue: make(chan []byte, deviceQueue), closed: make(chan struct{}),
	}
}

// push gives a packet to the reader.
func (d *Device) push(packet []byte) {
	select {
	case d.queue <- packet:
	default:
		d.in.trace.add(d.name, Dropped, "TUN queue full", nativePacket(packet))
	}
}

// ReadBatch waits for a packet, and takes those that wait behind it too.
func (d *Device) ReadBatch(ps []tun.Packet) (n int, err error) {
	select {
	case <-d.closed:
		return 0, os.ErrClosed
	case packet := <-d.queue:
		ps[0] = tun.Packet{Head: packet}
	}
	for n = 1; n < len(ps); n++ {
		select {
		case packet := <-d.queue:
			ps[n] = tun.Packet{Head: packet}
		default:
			return n, nil
		}
	}
	return n, nil
}

// WriteBatch delivers packets.
func (d *Device) WriteBatch(packets [][]byte) (int, error) {
	if len(packets) == 0 {
		return 0, nil
	}
	ok := d.in.clock.do(d.id, packets[0], func() {
		for _, p := range packets {
			d.deliver(slices.Clone(p))
		}
	})
	if !ok {
		return 0, os.ErrClosed
	}
	return len(packets), nil
}

// Close ends Read.
func (d *Device) Close() error {
	err := os.ErrClosed
	d.closeOnce.Do(func() {
		err = nil
		close(d.closed)
	})
	return err
}

// Offloads says that there are none.
func (d *Device) Offloads() tun.Offloads { return tun.Offloads{} }
