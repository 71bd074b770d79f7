package kernelpath

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// extended are packets with extension headers (RFC 8200 §4), which the kernel carries as they are: what they mean is up to the
// ends, as it is without the kernel path.
func extended(e ends) map[string][]byte {
	const hopByHop, routing, fragment, ah, destination = 0, 43, 44, 51, 60
	padding := func(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
	part := func(offset, more byte) []byte { // of a datagram of UDP
		return append([]byte{udp, 0, 0, offset<<3 | more, 1, 2, 3, 4}, make([]byte, 64)...)
	}
	chain := slices.Concat(padding(destination), padding(routing), []byte{fragment, 2, 0, 0, 0, 0, 0, 0}, e.Peer.AsSlice(), part(0, 1))
	return map[string][]byte{
		"first fragment":                 e.ipv6(fragment, part(0, 1)),
		"fragment in the middle":         e.ipv6(fragment, part(8, 1)),
		"last fragment":                  e.ipv6(fragment, part(16, 0)),
		"overlapping fragment":           e.ipv6(fragment, part(7, 0)),
		"atomic fragment":                e.ipv6(fragment, part(0, 0)),
		"fragment header cut short":      e.ipv6(fragment, []byte{udp, 0, 0}),
		"fragment of a test":             e.ipv6(fragment, append([]byte{icmpv6, 0, 0, 1, 1, 2, 3, 4}, make([]byte, 16)...)),
		"hop-by-hop options":             e.ipv6(hopByHop, append(padding(udp), make([]byte, 20)...)),
		"routing header type 0":          e.ipv6(routing, slices.Concat([]byte{udp, 2, 0, 1, 0, 0, 0, 0}, e.Local.AsSlice(), make([]byte, 20))),
		"authentication header":          e.ipv6(ah, append([]byte{udp, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, make([]byte, 20)...)),
		"destination options":            e.ipv6(destination, append(padding(udp), make([]byte, 20)...)),
		"no next header behind options":  e.ipv6(destination, padding(noNextHeader)),
		"connectivity test, but options": e.ipv6(destination, append(padding(icmpv6), make([]byte, 16)...)),
		"header that says too much":      e.ipv6(destination, []byte{udp, 255, 1, 4, 0, 0, 0, 0}),
		"all in a chain":                 e.ipv6(hopByHop, chain),
		"protocol nobody knows":          e.ipv6(253, make([]byte, 20)),
	}
}

// withHopLimit returns a copy of a packet with another hop limit.
func withHopLimit(packet []byte, limit byte) []byte {
	packet = slices.Clone(packet)
	packet[7] = limit
	return packet
}

// SEC-SR-01: packets with extension headers and with any hop limit come out as they went in, in both directions: the tunnel is a link, not a
// router.
func TestExtensionsOutgoing(t *testing.T) {
	w := newWire(t)
	for name, packet := range extended(w.ends) {
		for _, limit := range []byte{0, 1, 64, 255} {
			packet := withHopLimit(packet, limit)
			value := w.put(t, 0, true)
			must(t, w.Send(packet))
			if got := receive(t, w.link); !bytes.Equal(got, w.frame(value.Sent, packet)) {
				t.Errorf("%s, hop limit %d: got  %x\nwant %x", name, limit, got, w.frame(value.Sent, packet))
			}
		}
	}
}

func TestExtensionsIncoming(t *testing.T) {
	p, e := newPath(t), testEnds()
	for name, packet := range extended(e.swapped()) {
		for _, limit := range []byte{0, 1, 64, 255} {
			packet := withHopLimit(packet, limit)
			put(t, p, e.Flow, e.value(1, time.Now(), true))
			frame := newDatagram(e.swapped(), packet).frame()
			if !e.plain(frame) {
				t.Fatalf("%s: the test is wrong: the frame is not plain", name)
			}
			verdict, after := runProgram(t, p.objects.Incoming, frame, nil)
			if got := after[min(ethernetLen, len(after)):]; verdict != redirect || !bytes.Equal(got, packet) {
				t.Errorf("%s, hop limit %d: verdict %d\ngot  %x\nwant %x", name, limit, verdict, got, packet)
			}
		}
	}
}

// jumbograms are packets that say their length in a hop-by-hop option, or should (RFC 2675).
func jumbograms(e ends) map[string][]byte {
	jumbo := func(length uint32, rest int) []byte {
		options := binary.BigEndian.AppendUint32([]byte{udp, 0, 0xc2, 4}, length)
		packet := e.ipv6(0, append(options, make([]byte, rest)...))
		packet[4], packet[5] = 0, 0
		return packet
	}
	trailing := teredo.AppendNonceTrailer(e.ipv6(0, []byte{noNextHeader, 0, 1, 4, 0, 0, 0, 0}), [4]byte{1, 2, 3, 4})
	trailing[4], trailing[5] = 0, 0
	return map[string][]byte{
		"right length":            jumbo(8+1000, 1000),
		"length of a jumbogram":   jumbo(1<<17, 1000),
		"length 0":                jumbo(0, 1000),
		"no option, and trailers": trailing,
	}
}

// Jumbograms are for the program, which drops them: no datagram holds one. Linux forwards some that are none, with bytes that
// belong to nothing.
func TestJumbogramsOutgoing(t *testing.T) {
	w := newWire(t)
	for name, packet := range jumbograms(w.ends) {
		want := w.put(t, 0, true)
		must(t, w.Send(packet))
		if got := receive(t, w.tun); !bytes.Equal(got, packet) {
			t.Errorf("%s: the program gets %x\nwant             %x", name, got, packet)
		}
		if now := get(t, w.Path, w.Flow); now != want {
			t.Errorf("%s: flow is %+v, want %+v", name, now, want)
		}
	}
	if got := receiveNow(t, w.link); got != nil {
		t.Errorf("left the host: %x", got)
	}
}

func TestJumbogramsIncoming(t *testing.T) {
	p, e := newPath(t), testEnds()
	for name, packet := range jumbograms(e.swapped()) {
		t.Run(name, func(t *testing.T) { mustLeave(t, p, e, newDatagram(e.swapped(), packet).frame(), time.Now()) })
	}
}
