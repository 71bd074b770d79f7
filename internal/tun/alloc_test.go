package tun

import (
	"bytes"
	"testing"
)

// Neither cutting a super-packet nor putting one together allocates.
func TestNoAllocations(t *testing.T) {
	for _, protocol := range []uint8{protocolTCP, protocolUDP} {
		u := unit(newFlow(protocol, 1), flagACK, 1000, make([]byte, 50000))
		s, ps, heads := new(segmenter), make([]Packet, 128), make([][maxHead]byte, 128)
		if n := testing.AllocsPerRun(100, func() {
			if s.start(u) != nil || s.next(ps, heads) != 50 {
				t.Fatal("not split")
			}
		}); n != 0 {
			t.Errorf("protocol %d: %v allocations to split", protocol, n)
		}

		var packets, originals [][]byte
		f := newFlow(protocol, 1)
		for range 50 {
			p := f.packet(flagACK, make([]byte, 1000))
			packets, originals = append(packets, p), append(originals, bytes.Clone(p))
		}
		c := &coalescer{udp: true}
		if n := testing.AllocsPerRun(100, func() {
			copy(packets[0], originals[0])
			c.coalesce(packets)
			c.prepare(&c.superPackets[0])
			if c.n != 1 {
				t.Fatal("not put together")
			}
		}); n != 0 {
			t.Errorf("protocol %d: %v allocations to put together", protocol, n)
		}
	}
}
