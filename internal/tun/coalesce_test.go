package tun

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// written is what the kernel gets of a super-packet: a virtio header and the packet.
func written(c *coalescer, r *superPacket) []byte {
	h := c.prepare(r)
	u := make([]byte, virtioLen)
	h.put(u)
	u = append(u, c.packets[r.first]...)
	for i, k := r.first, 1; k < r.segments; k++ {
		i = c.after[i]
		u = append(u, c.packets[i][r.headLen:]...)
	}
	return u
}

// coalesced returns how many packets are in each super-packet.
func coalesced(packets ...[]byte) (n []int) {
	c := &coalescer{udp: true}
	c.coalesce(packets)
	for _, r := range c.superPackets[:c.n] {
		n = append(n, r.segments)
	}
	return n
}

func TestGather(t *testing.T) {
	data := func(n int) []byte { return random(newRand(1), n) }
	tcp := func(f *flow, sizes ...int) (packets [][]byte) {
		for _, s := range sizes {
			packets = append(packets, f.packet(flagACK, data(s)))
		}
		return packets
	}
	change := func(p []byte, at int, v byte) []byte {
		p[at] ^= v
		return p
	}
	const transport = teredo.HeaderLen
	one, two := func() *flow { return newFlow(protocolTCP, 1) }, func() *flow { return newFlow(protocolTCP, 2) }
	datagrams := func() *flow { return newFlow(protocolUDP, 1) }

	withPush := one()
	push := [][]byte{withPush.packet(flagACK, data(9)), withPush.packet(flagACK|flagPSH, data(9)), withPush.packet(flagACK, data(9))}
	gap := one()
	withGap := tcp(gap, 9)
	gap.sequence++
	withGap = append(withGap, tcp(gap, 9, 9)...)
	acks := one()
	withAck := append(tcp(acks, 9, 9), acks.packet(flagACK, nil))
	acks.ack++
	withAck = append(withAck, tcp(acks, 9, 9)...)
	fin := one()
	withFIN := append(tcp(fin, 9), fin.packet(flagACK|flagFIN, data(9)))
	ecn := one()
	withECN := append(tcp(ecn, 9), nil)
	ecn.class = 3
	withECN[1] = ecn.packet(flagACK, data(9))
	options := one()
	withOptions := tcp(options, 9)
	options.options = bytes.Clone(options.options)
	options.options[7]++
	withOptions = append(withOptions, tcp(options, 9)...)
	hops := tcp(one(), 9, 9)
	hops[1][7]--
	a, b := one(), two()
	interleaved := slices.Concat(tcp(a, 9), tcp(b, 9), tcp(a, 9), tcp(b, 9))
	overtaken := one()
	old := tcp(overtaken, 9, 9)
	first := old[0]
	repeated := slices.Concat(old, [][]byte{bytes.Clone(first)}, tcp(overtaken, 9))
	zero := newFlow(protocolUDP, 1).packet(0, data(9))
	zero[transport+udpChecksum], zero[transport+udpChecksum+1] = 0, 0
	withoutLength := datagrams().packet(0, data(9))
	withoutLength[transport+udpLength]++
	extension := one().packet(flagACK, data(9))
	extension[6] = 60 // destination options

	for _, test := range []struct {
		name    string
		packets [][]byte
		want    []int
	}{
		{"nothing", nil, nil},
		{"segments", tcp(one(), 9, 9, 9), []int{3}},
		{"the last shorter", tcp(one(), 9, 9, 8, 9), []int{3, 1}},
		{"a longer one", tcp(one(), 9, 10), []int{1, 1}},
		{"PSH ends a super-packet", push, []int{2, 1}},
		{"a gap", withGap, []int{1, 2}},
		{"another acknowledgement", withAck, []int{2, 1, 2}},
		{"FIN", withFIN, []int{1, 1}},
		{"another traffic class", withECN, []int{1, 1}},
		{"other options", withOptions, []int{1, 1}},
		{"another hop limit", hops, []int{1, 1}},
		{"two flows", interleaved, []int{2, 2}},
		{"nothing overtakes a retransmission", repeated, []int{2, 1, 1}},
		{"wrong checksum at the start", [][]byte{change(tcp(one(), 9)[0], 80, 1), tcp(one(), 9, 9)[1]}, []int{1, 1}},
		{"wrong checksum later", [][]byte{tcp(one(), 9)[0], change(tcp(one(), 9, 9)[1], 80, 1)}, []int{1, 1}},
		{"as much as one packet holds", tcp(one(), 32700, 32700, 32700), []int{2, 1}},
		{"datagrams", tcp(datagrams(), 9, 9, 3, 9), []int{3, 1}},
		{"datagrams without payload", tcp(datagrams(), 0, 0), []int{1, 1}},
		{"datagrams without checksum", [][]byte{zero, bytes.Clone(zero)}, []int{1, 1}},
		{"datagrams with another length", [][]byte{withoutLength, bytes.Clone(withoutLength)}, []int{1, 1}},
		{"extension headers", [][]byte{extension, bytes.Clone(extension)}, []int{1, 1}},
		{"no IPv6", [][]byte{{}, {0x60}, make([]byte, 100)}, []int{1, 1, 1}},
		{"a length that is not so", [][]byte{append(tcp(one(), 9)[0], 0), append(tcp(one(), 9)[0], 0)}, []int{1, 1}},
	} {
		if got := coalesced(test.packets...); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v packets to a super-packet, want %v", test.name, got, test.want)
		}
	}
	c := &coalescer{udp: false}
	if c.coalesce(tcp(datagrams(), 9, 9)); c.n != 2 {
		t.Error("datagrams were put together where the kernel does not take them apart")
	}
}

// A super-packet is what the kernel would hand over itself for the same packets.
func TestFinish(t *testing.T) {
	for _, protocol := range []uint8{protocolTCP, protocolUDP} {
		f, g := newFlow(protocol, 1), newFlow(protocol, 1)
		payload := random(newRand(3), 2500)
		c := &coalescer{udp: true}
		c.coalesce([][]byte{f.packet(flagACK, payload[:1000]), f.packet(flagACK, payload[1000:2000]), f.packet(flagACK|flagPSH, payload[2000:])})
		got, want := written(c, &c.superPackets[0]), unit(g, flagACK|flagPSH, 1000, payload)
		h := parseVirtioNetHdr(got)
		if h.hdrLen != uint16(len(want)-virtioLen-len(payload)) {
			t.Errorf("header length %d", h.hdrLen)
		}
		// The checksum fields hold different things: here the pseudo-header's sum, as the kernel wants it.
		at := virtioLen + teredo.HeaderLen + int(h.csumOffset)
		length := uint16(len(want) - virtioLen - teredo.HeaderLen)
		if field := binary.BigEndian.Uint16(got[at:]); field != fold(sumWord(length, pseudoHeader(want[virtioLen:], protocol))) {
			t.Errorf("protocol %d: the checksum field is %#04x", protocol, field)
		}
		copy(want[2:4], got[2:4])
		copy(want[at:at+2], got[at:at+2])
		if !bytes.Equal(got, want) {
			t.Errorf("protocol %d: the super-packet differs:\n%x\n%x", protocol, got[:100], want[:100])
		}
	}
}

// What is coalesced and taken apart again is the same: the same packets, and those of a flow in the same order.
func FuzzGather(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		packets := traffic(seed)
		want := make(map[string][][]byte)
		for _, p := range packets {
			want[flowOf(p)] = append(want[flowOf(p)], bytes.Clone(p))
		}
		c := &coalescer{udp: true}
		c.coalesce(packets)
		got, total := make(map[string][][]byte), 0
		for i := range c.superPackets[:c.n] {
			for _, p := range split(t, new(segmenter), written(c, &c.superPackets[i]), 128) {
				got[flowOf(p)] = append(got[flowOf(p)], p)
				total++
			}
		}
		if total != len(packets) {
			t.Errorf("%d packets became %d", len(packets), total)
		}
		for flow := range want {
			if !slices.EqualFunc(got[flow], want[flow], bytes.Equal) {
				t.Errorf("flow %x is not the same", flow)
			}
		}
	})
}

// traffic makes packets of several flows, most of which could be put together.
func traffic(seed uint64) (packets [][]byte) {
	r := newRand(seed)
	var flows []*flow
	for n := range 1 + r.IntN(12) {
		flows = append(flows, newFlow([]uint8{protocolTCP, protocolUDP}[r.IntN(2)], n))
	}
	rarely := func() bool { return r.IntN(12) == 0 }
	for range 1 + r.IntN(maxBatch) {
		f := flows[r.IntN(len(flows))]
		size, flags := 100, uint8(flagACK)
		if rarely() {
			size = r.IntN(200)
		}
		if rarely() {
			flags |= uint8(r.IntN(256))
		}
		if rarely() {
			f.sequence += uint32(r.IntN(3)) - 1
		}
		if rarely() {
			f.ack++
		}
		p := f.packet(flags, random(r, size))
		if rarely() {
			p[r.IntN(len(p))] ^= byte(1 << r.IntN(8))
		}
		packets = append(packets, p)
	}
	return packets
}

// flowOf tells packets apart whose order does not matter.
func flowOf(p []byte) string { return string(p[6]) + string(p[8:teredo.HeaderLen+4]) }
