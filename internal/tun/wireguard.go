package tun

import (
	"errors"
	"slices"
	"sync"

	"golang.zx2c4.com/wireguard/tun"
)

const (
	headroom  = 16   // what a device may want free before a packet
	maxPacket = 2048 // room for one packet, whose MTU is 1280 unless somebody changed it
)

// wrapped is a device of another package.
type wrapped struct {
	dev    tun.Device
	bufs   [][]byte
	sizes  []int
	copies sync.Pool // of *[][]byte: packets with headroom
}

// wrap makes a Device of one that has the interface of wireguard's. Super-packets, if any, are its own business.
func wrap(dev tun.Device) Device {
	w := &wrapped{dev: dev, bufs: make([][]byte, dev.BatchSize()), sizes: make([]int, dev.BatchSize())}
	for i := range w.bufs {
		w.bufs[i] = make([]byte, headroom+maxPacket)
	}
	return w
}

func (w *wrapped) Offloads() Offloads { return Offloads{} }
func (w *wrapped) Close() error       { return w.dev.Close() }

// ReadBatch is of Device.
func (w *wrapped) ReadBatch(ps []Packet) (n int, err error) {
	n, err = w.dev.Read(w.bufs[:min(len(ps), len(w.bufs))], w.sizes, headroom)
	if errors.Is(err, tun.ErrTooManySegments) {
		err = nil // those that had room go on
	}
	for i := range n {
		ps[i] = Packet{Head: w.bufs[i][headroom : headroom+w.sizes[i]]}
	}
	return n, err
}

// WriteBatch is of Device.
func (w *wrapped) WriteBatch(packets [][]byte) (n int, err error) {
	copies, ok := w.copies.Get().(*[][]byte)
	if !ok {
		copies = new([][]byte)
	}
	defer w.copies.Put(copies)
	*copies = slices.Grow((*copies)[:0], len(packets))[:len(packets)]
	for i, p := range packets {
		b := slices.Grow((*copies)[i][:0], headroom+len(p))[:headroom]
		(*copies)[i] = append(b, p...)
	}
	if _, err := w.dev.Write(*copies, headroom); err != nil {
		return 0, err
	}
	return len(packets), nil
}
