package tun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// unit puts packets together to what the kernel hands over: they must be one flow, of equal size but for the last.
func unit(f *flow, flags uint8, size int, payload []byte) []byte {
	head := f.packet(flags, payload)
	h := virtioNetHdr{
		flags: needsCsum, gsoType: gsoTCPv6, gsoSize: uint16(size), hdrLen: 1, // the kernel's is no use
		csumStart: teredo.HeaderLen, csumOffset: tcpChecksum,
	}
	if f.protocol == protocolUDP {
		h.gsoType, h.csumOffset = gsoUDPL4, udpChecksum
	}
	u := make([]byte, virtioLen, virtioLen+len(head))
	h.put(u)
	return append(u, head...)
}

// split returns all packets of a unit, at most room at a time.
func split(t testing.TB, s *segmenter, unit []byte, room int) (packets [][]byte) {
	t.Helper()
	if err := s.start(unit); err != nil {
		t.Fatal(err)
	}
	ps, heads := make([]Packet, room), make([][maxHead]byte, room)
	for s.pending() {
		for _, p := range ps[:s.next(ps, heads)] {
			packets = append(packets, append(append([]byte(nil), p.Head...), p.Body...))
		}
	}
	return packets
}

// A super-packet falls into the packets that the sender would have made one by one.
func TestSplit(t *testing.T) {
	for _, protocol := range []uint8{protocolTCP, protocolUDP} {
		for _, test := range []struct{ size, payload int }{
			{1208, 60000}, {1208, 2416}, {1208, 1209}, {1208, 1}, {1208, 1208}, {7, 700}, {1, 300},
		} {
			for _, room := range []int{1, 5, 128} {
				t.Run(fmt.Sprint(protocol, test, room), func(t *testing.T) {
					f, g := newFlow(protocol, 1), newFlow(protocol, 1)
					payload := random(newRand(uint64(test.payload)), test.payload)
					got := split(t, new(segmenter), unit(f, flagACK|flagPSH|flagFIN, test.size, payload), room)
					for n := 0; len(payload) > 0; n++ {
						size := min(test.size, len(payload))
						flags := uint8(flagACK)
						if size == len(payload) {
							flags |= flagPSH | flagFIN
						}
						if want := g.packet(flags, payload[:size]); n >= len(got) || !bytes.Equal(got[n], want) {
							t.Fatalf("packet %d of %d differs", n, len(got))
						}
						payload = payload[size:]
						if len(payload) == 0 && n+1 != len(got) {
							t.Errorf("%d packets, want %d", len(got), n+1)
						}
					}
				})
			}
		}
	}
}

// A packet that is no super-packet comes as it is, its checksum completed where that is left to us.
func TestSplitSingle(t *testing.T) {
	for _, protocol := range []uint8{protocolTCP, protocolUDP} {
		want := newFlow(protocol, 1).packet(flagACK, []byte("data!"))
		at := map[uint8]int{protocolTCP: tcpChecksum, protocolUDP: udpChecksum}[protocol]
		for _, partial := range []bool{false, true} {
			u := append(make([]byte, virtioLen), want...)
			if partial {
				virtioNetHdr{flags: needsCsum, csumStart: teredo.HeaderLen, csumOffset: uint16(at)}.put(u)
				pseudo := sumWord(uint16(len(want)-teredo.HeaderLen), pseudoHeader(want, protocol))
				binary.BigEndian.PutUint16(u[virtioLen+teredo.HeaderLen+at:], fold(pseudo))
			}
			if got := split(t, new(segmenter), u, 4); len(got) != 1 || !bytes.Equal(got[0], want) {
				t.Errorf("protocol %d, partial %v: got %x, want %x", protocol, partial, got, want)
			}
		}
	}
}

func TestSplitMalformed(t *testing.T) {
	good := unit(newFlow(protocolTCP, 1), flagACK, 100, make([]byte, 500))
	udp := unit(newFlow(protocolUDP, 1), 0, 100, make([]byte, 500))
	set := func(u []byte, at int, v byte) []byte {
		u = bytes.Clone(u)
		u[at] = v
		return u
	}
	word := func(u []byte, at int, v uint16) []byte {
		u = bytes.Clone(u)
		binary.NativeEndian.PutUint16(u[at:], v)
		return u
	}
	const packet, offset = virtioLen, virtioLen + teredo.HeaderLen + tcpDataOffset
	for name, u := range map[string][]byte{
		"nothing":                    {},
		"part of a virtio header":    good[:virtioLen-1],
		"no packet":                  good[:virtioLen],
		"part of an IPv6 header":     good[:packet+39],
		"part of a TCP header":       good[:packet+59],
		"no payload":                 good[:packet+72],
		"part of a UDP header":       udp[:packet+47],
		"IPv4":                       set(good, packet, 0x45),
		"another kind":               set(good, 1, 1),
		"TCP as UDP":                 set(good, 1, gsoUDPL4),
		"UDP as TCP":                 set(udp, 1, gsoTCPv6),
		"no segment size":            word(good, 4, 0),
		"transport inside IPv6":      word(good, 6, 8),
		"transport beyond the end":   word(good, 6, 60000),
		"checksum elsewhere":         word(good, 8, 4),
		"TCP header too short":       set(good, offset, 0x40),
		"TCP header beyond the end":  set(good[:packet+100], offset, 0xf0),
		"headers longer than room":   word(good, 6, 240),
		"checksum beyond the end":    word(set(good, 1, gsoNone), 6, 600),
		"checksum field at the end":  word(set(good, 1, gsoNone), 6, uint16(len(good)-virtioLen-17)),
		"checksum far beyond it all": word(word(set(good, 1, gsoNone), 6, 65535), 8, 65535),
	} {
		s := new(segmenter)
		if err := s.start(u); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v", name, err)
		}
		if s.pending() {
			t.Errorf("%s: something is left to split", name)
		}
	}
}

// Whatever the kernel says, there is no panic, and every packet but one from a whole unit has headers of its own.
func FuzzSplit(f *testing.F) {
	f.Add(unit(newFlow(protocolTCP, 1), flagACK, 100, make([]byte, 500)))
	f.Add(unit(newFlow(protocolUDP, 1), 0, 100, make([]byte, 500)))
	f.Add(append(make([]byte, virtioLen), newFlow(protocolUDP, 1).packet(0, []byte{1})...))
	f.Fuzz(func(t *testing.T, u []byte) {
		s := new(segmenter)
		if s.start(u) != nil {
			return
		}
		ps, heads := make([]Packet, 3), make([][maxHead]byte, 3)
		for total := 0; s.pending(); {
			n := s.next(ps, heads)
			if n == 0 {
				t.Fatal("no progress")
			}
			for _, p := range ps[:n] {
				total += len(p.Body)
			}
			if total > len(u) {
				t.Fatal("more payload than there was")
			}
		}
	})
}
