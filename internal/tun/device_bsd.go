//go:build darwin || freebsd || openbsd

package tun

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	headroom  = 4       // in front of each packet, for its address family
	maxPacket = 1 << 16 // bytes of an IPv6 packet with its header, more than any has here
)

// prefixes of the names that an interface must have; elsewhere it may have any.
var prefixes = map[string]string{"darwin": "utun", "openbsd": "tun"}

// device is a TUN interface that gives and takes one packet at a time.
type device struct {
	wireguard tun.Device
	buffers   [][]byte // one, for reading
	sizes     []int

	mu  sync.Mutex
	out []byte // for writing
}

// Adopt is for Linux.
func Adopt(int, string, offload.Mode) (Device, error) { return nil, errors.ErrUnsupported }

// Open creates the interface. Where the system gives interfaces their names, a name of another kind stands for the next free one;
// see Name.
func Open(name string, offloads offload.Mode) (Device, error) {
	if offloads == offload.On {
		return nil, ErrNoOffload
	}
	if prefix := prefixes[runtime.GOOS]; !strings.HasPrefix(name, prefix) {
		name = prefix
	}
	d, err := tun.CreateTUN(name, teredo.MTU)
	if err != nil {
		return nil, err
	}
	go func() {
		for range d.Events() { // it waits for who does not take them
		}
	}()
	return &device{
		wireguard: d, buffers: [][]byte{make([]byte, headroom+maxPacket)}, sizes: make([]int, 1), out: make([]byte, headroom+maxPacket),
	}, nil
}

// Name returns the name of the interface.
func (d *device) Name() (string, error) { return d.wireguard.Name() }

func (d *device) ReadBatch(ps []Packet) (n int, err error) {
	n, err = d.wireguard.Read(d.buffers, d.sizes, headroom)
	if err != nil || n == 0 {
		return 0, err
	}
	ps[0] = Packet{Head: d.buffers[0][headroom:][:d.sizes[0]]}
	return 1, nil
}

func (d *device) WriteBatch(packets [][]byte) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, packet := range packets {
		refusal := d.write(packet)
		if errors.Is(refusal, os.ErrClosed) {
			return n, refusal
		}
		if refusal == nil {
			n++
		} else if err == nil {
			err = refusal
		}
	}
	return n, err
}

func (d *device) write(packet []byte) error {
	if len(packet) == 0 || len(packet) > maxPacket {
		return ErrMalformed
	}
	one := [1][]byte{d.out[:headroom+copy(d.out[headroom:], packet)]}
	_, err := d.wireguard.Write(one[:], headroom)
	return err
}

func (d *device) Offloads() Offloads { return Offloads{} }

func (d *device) Close() error { return d.wireguard.Close() }
