package tun

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.zx2c4.com/wireguard/tun"
)

// fake is a device with the interface of wireguard's.
type fake struct {
	tun.Device // not used
	packets    [][]byte
	err        error
	written    [][]byte
}

func (f *fake) BatchSize() int { return 2 }

func (f *fake) Read(bufs [][]byte, sizes []int, offset int) (n int, err error) {
	for n < len(bufs) && len(f.packets) > 0 {
		sizes[n] = copy(bufs[n][offset:], f.packets[0])
		f.packets = f.packets[1:]
		n++
	}
	return n, f.err
}

func (f *fake) Write(bufs [][]byte, offset int) (int, error) {
	if offset < virtioLen {
		return 0, errors.New("no room for a virtio header")
	}
	for _, b := range bufs {
		f.written = append(f.written, bytes.Clone(b[offset:]))
	}
	return 0, f.err
}

func (f *fake) Close() error { return os.ErrClosed }

func TestWrap(t *testing.T) {
	f := &fake{packets: [][]byte{{1}, {2, 2}, {3, 3, 3}}}
	d := wrap(f)
	ps := make([]Packet, 8)
	for _, want := range []int{2, 1} {
		n, err := d.ReadBatch(ps)
		if n != want || err != nil {
			t.Fatalf("%d packets, %v; want %d", n, err, want)
		}
	}
	if !bytes.Equal(ps[0].Head, []byte{3, 3, 3}) {
		t.Errorf("got %x", ps[0].Head)
	}
	f.err = tun.ErrTooManySegments
	if _, err := d.ReadBatch(ps); err != nil {
		t.Errorf("a super-packet with too many segments ends reading: %v", err)
	}
	f.err = nil
	for range 2 { // buffers are used again
		if n, err := d.WriteBatch([][]byte{{1, 2}, {3}}); n != 2 || err != nil {
			t.Errorf("%d packets written, %v", n, err)
		}
	}
	if len(f.written) != 4 || !bytes.Equal(f.written[2], []byte{1, 2}) || !bytes.Equal(f.written[3], []byte{3}) {
		t.Errorf("written: %x", f.written)
	}
	f.err = os.ErrInvalid
	if n, err := d.WriteBatch([][]byte{{1}}); n != 0 || !errors.Is(err, os.ErrInvalid) {
		t.Errorf("%d packets written, %v", n, err)
	}
	if err := d.Close(); !errors.Is(err, os.ErrClosed) || d.Offloads() != (Offloads{}) {
		t.Error("Close and Offloads are not those of the device")
	}
}
