package kernelpath

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	ethernetLen = 14
	ipv4Len     = 20
	udpLen      = 8
	headersLen  = ethernetLen + ipv4Len + udpLen

	tcp, udp, icmpv6, noNextHeader = unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMPV6, unix.IPPROTO_NONE
)

// ends are the addresses of a flow and of its datagrams.
type ends struct {
	Flow
	near, far netip.AddrPort
}

func testEnds() ends {
	return ends{
		Flow: Flow{netip.MustParseAddr("2001:0:c000:201::1"), netip.MustParseAddr("2001:0:c000:201::2")},
		near: netip.MustParseAddrPort("192.0.2.1:40000"), far: netip.MustParseAddrPort("192.0.2.2:50000"),
	}
}

// swapped returns the ends as the peer sees them.
func (e ends) swapped() ends { return ends{Flow{e.Peer, e.Local}, e.far, e.near} }

// ipv6 makes a packet from our side of the tunnel. Its traffic class is not 0.
func (e ends) ipv6(nextHeader byte, payload []byte) []byte {
	b := []byte{0x6b, 0x81, 0x23, 0x45}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = append(b, nextHeader, 64)
	b = append(b, e.Local.AsSlice()...)
	b = append(b, e.Peer.AsSlice()...)
	return append(b, payload...)
}

// summed makes a packet whose own checksum, which is so far into the payload, is right.
func (e ends) summed(nextHeader byte, payload []byte, at int) []byte {
	b := e.ipv6(nextHeader, payload)
	pseudo := slices.Concat(b[8:40], []byte{0, 0}, b[4:6], []byte{0, 0, 0, nextHeader})
	binary.BigEndian.PutUint16(b[teredo.HeaderLen+at:], checksum(append(pseudo, b[teredo.HeaderLen:]...)))
	return b
}

// datagram is a Teredo packet on Ethernet, right or wrong.
type datagram struct {
	ends
	toMAC, fromMAC  [6]byte
	tos             byte
	id, fragment    uint16
	options         []byte
	protocol        byte
	udpMore, ipMore int // added to the length fields
	version         byte
	sumMore         byte // added to the header checksum
	summed          bool // has a UDP checksum
	payload         []byte
}

// newDatagram is a proper datagram from our side.
func newDatagram(e ends, payload []byte) datagram {
	return datagram{ends: e, version: 4, protocol: udp, payload: payload}
}

func (d datagram) frame() []byte {
	udpSize := udpLen + len(d.payload)
	b := slices.Concat(d.toMAC[:], d.fromMAC[:], []byte{0x08, 0x00})
	b = append(b, d.version<<4|byte((ipv4Len+len(d.options))/4), d.tos)
	b = binary.BigEndian.AppendUint16(b, uint16(ipv4Len+len(d.options)+udpSize+d.ipMore))
	b = binary.BigEndian.AppendUint16(b, d.id)
	b = binary.BigEndian.AppendUint16(b, d.fragment)
	b = append(b, 64, d.protocol, 0, 0)
	b = append(b, d.near.Addr().AsSlice()...)
	b = append(b, d.far.Addr().AsSlice()...)
	b = append(b, d.options...)
	setChecksum(b[ethernetLen:])
	b[ethernetLen+10] += d.sumMore
	b = binary.BigEndian.AppendUint16(b, d.near.Port())
	b = binary.BigEndian.AppendUint16(b, d.far.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(udpSize+d.udpMore))
	b = append(b, 0, 0)
	b = append(b, d.payload...)
	if udp := b[len(b)-udpSize:]; d.summed {
		pseudo := slices.Concat(d.near.Addr().AsSlice(), d.far.Addr().AsSlice(), []byte{0, d.protocol}, udp[4:6])
		sum := checksum(append(pseudo, udp...))
		if sum == 0 {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(udp[6:], sum)
	}
	return b
}

// setChecksum makes the header checksum of an IPv4 packet right (RFC 791 §3.1).
func setChecksum(ip []byte) {
	header := ip[:min(int(ip[0]&0xf)*4, len(ip))]
	if len(header) < ipv4Len {
		return
	}
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], checksum(header))
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// plain reports whether a frame holds a datagram that comes to these ends, and that the kernel may carry: a whole IPv6 packet
// and nothing else, neither a bubble nor what may be a connectivity test.
func (e ends) plain(frame []byte) bool {
	ip := frame[ethernetLen:]
	if len(ip) < ipv4Len+udpLen || ip[0] != 4<<4|ipv4Len/4 || checksum(ip[:ipv4Len]) != 0 || ip[9] != udp || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 {
		return false
	}
	if size := int(binary.BigEndian.Uint16(ip[2:])); size > len(ip) {
		return false
	} else {
		ip = ip[:size]
	}
	if len(ip) < ipv4Len+udpLen || int(binary.BigEndian.Uint16(ip[24:])) != len(ip)-ipv4Len {
		return false
	}
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[12:])), binary.BigEndian.Uint16(ip[20:]))
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[16:])), binary.BigEndian.Uint16(ip[22:]))
	var p teredo.Packet
	if from != e.far || to != e.near || p.Parse(ip[ipv4Len+udpLen:]) != nil {
		return false
	}
	if p.HasAuth || p.Origin.IsValid() || len(p.Trailers) > 0 ||
		teredo.Source(p.IPv6) != e.Peer || teredo.Destination(p.IPv6) != e.Local {
		return false
	}
	next := teredo.NextHeader(p.IPv6)
	return next != noNextHeader && (next != icmpv6 || len(p.IPv6) != teredo.HeaderLen+16)
}

// value is the flow as it is in the map.
func (e ends) value(uplink int, heard time.Time, open bool) objectFlow {
	value := objectFlow{
		Local: ipv4(e.near.Addr()), LocalPort: networkOrder(e.near.Port()),
		Remote: ipv4(e.far.Addr()), RemotePort: networkOrder(e.far.Port()),
		Uplink: uint32(uplink), Heard: uint64(bootTime(heard)), Sent: 1000, Received: 2000,
	}
	if open {
		value.Open = true
	}
	return value
}

func put(t *testing.T, p *Path, f Flow, value objectFlow) {
	t.Helper()
	must(t, p.objects.Flows.Put(f.key(), &value))
}

func get(t *testing.T, p *Path, f Flow) (value objectFlow) {
	t.Helper()
	must(t, p.objects.Flows.Lookup(f.key(), &value))
	return value
}

const (
	next     = -1
	redirect = 7 // TC_ACT_REDIRECT
)

// runProgram has the kernel run a program on one frame, and returns its verdict and what has become of the frame.
func runProgram(t *testing.T, program *ebpf.Program, frame []byte, context any) (verdict int32, after []byte) {
	t.Helper()
	options := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: context}
	code, err := program.Run(&options)
	must(t, err)
	return int32(code), options.DataOut
}

// superPacket is the context of a packet of two segments (struct __sk_buff of the kernel).
func superPacket(segment uint32) []uint32 {
	const gsoSegs, gsoSize = 164 / 4, 176 / 4
	context := make([]uint32, gsoSize+1)
	context[gsoSegs], context[gsoSize] = 2, segment
	return context
}

// known is what is known of a flow, without how its packets come.
func known(f objectFlow) objectFlow {
	return objectFlow{
		Local: f.Local, Remote: f.Remote, LocalPort: f.LocalPort, RemotePort: f.RemotePort,
		Uplink: f.Uplink, Heard: f.Heard, Sent: f.Sent, Received: f.Received,
		SentBytes: f.SentBytes, ReceivedBytes: f.ReceivedBytes, Physical: f.Physical, Open: f.Open,
	}
}

// inOrder is how long all packets of a flow go to the program after a burst.
const inOrder = time.Second

// within repeats what a busy machine has not done in much less than that.
func within(f func()) {
	for took := inOrder; took > inOrder/2; {
		start := time.Now()
		f()
		took = time.Since(start)
	}
}
