package kernelpath

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// newPath opens the path for the datagrams of testEnds.
func newPath(t *testing.T) *Path {
	t.Helper()
	inNamespace(t)
	withoutIPv6(t)
	newTUN(t, false)
	return openPath(t, testEnds().near, 16)
}

func openPath(t *testing.T, local netip.AddrPort, flows int) *Path {
	t.Helper()
	return openTranslating(t, local, nil, flows)
}

func openTranslating(t *testing.T, local netip.AddrPort, natives teredo.NativePrefixes, flows int) *Path {
	t.Helper()
	p, err := Open(tunName, local, flows, natives, quiet)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return p
}

// A plain packet of a flow loses its outer headers, and goes to the tunnel.
func TestIncoming(t *testing.T) {
	p, e := newPath(t), testEnds()
	for _, test := range []struct {
		name   string
		change func(*datagram)
	}{
		{"UDP", func(*datagram) {}},
		{"TCP", func(d *datagram) { d.payload = d.ipv6(tcp, make([]byte, 20)) }},
		{"nothing in it", func(d *datagram) { d.payload = d.ipv6(udp, nil) }},
		{"whole MTU", func(d *datagram) { d.payload = d.ipv6(udp, make([]byte, teredo.MTU-teredo.HeaderLen)) }},
		{"ping", func(d *datagram) { d.payload = d.ipv6(icmpv6, append([]byte{128}, make([]byte, 63)...)) }},
		{"DF", func(d *datagram) { d.fragment = 0x4000 }},
		{"TOS", func(d *datagram) { d.tos = 0xb8 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := e.value(1, time.Now().Add(-10*time.Second), true)
			put(t, p, e.Flow, before)
			d := newDatagram(e.swapped(), e.swapped().ipv6(udp, []byte("test packet")))
			test.change(&d)
			frame := d.frame()
			if !e.plain(frame) {
				t.Fatal("the test is wrong: the frame is not plain")
			}
			verdict, after := runProgram(t, p.objects.Incoming, frame, nil)
			if verdict != redirect {
				t.Errorf("verdict %d", verdict)
			}
			// The program cannot see the Ethernet type; the kernel drops that header.
			if got := after[min(ethernetLen, len(after)):]; !bytes.Equal(got, d.payload) {
				t.Errorf("got  %x\nwant %x", got, d.payload)
			}
			now := get(t, p, e.Flow)
			if now.Heard <= before.Heard || now.Heard > uint64(bootTime(time.Now())) {
				t.Errorf("heard at %d, was %d", now.Heard, before.Heard)
			}
			before.Received++
			before.ReceivedBytes += uint64(len(d.payload))
			before.Heard = now.Heard
			if now != before {
				t.Errorf("flow is %+v, want %+v", now, before)
			}
		})
	}
}

// What is not surely a plain packet of a flow is left to the program, as it came.
func TestIncomingLeft(t *testing.T) {
	p, e := newPath(t), testEnds()
	other := netip.MustParseAddr("192.0.2.9")
	inner := func(d *datagram, next byte, size int) { d.payload = d.ipv6(next, make([]byte, size)) }
	for _, test := range []struct {
		name   string
		change func(*datagram)
	}{
		{"no flow from the source", func(d *datagram) { d.Local = d.Local.Next(); inner(d, udp, 20) }},
		{"no flow to the destination", func(d *datagram) { d.Peer = d.Peer.Next(); inner(d, udp, 20) }},
		{"flow of the other direction", func(d *datagram) { d.Flow = e.Flow; inner(d, udp, 20) }},
		{"other source address", func(d *datagram) { d.near = netip.AddrPortFrom(other, d.near.Port()) }},
		{"other source port", func(d *datagram) { d.near = netip.AddrPortFrom(d.near.Addr(), 50001) }},
		{"other local address", func(d *datagram) { d.far = netip.AddrPortFrom(other, d.far.Port()) }},
		{"other local port", func(d *datagram) { d.far = netip.AddrPortFrom(d.far.Addr(), 40001) }},
		{"for another host", func(d *datagram) { d.toMAC = [6]byte{2, 0, 0, 0, 0, 1} }},
		{"broadcast", func(d *datagram) { d.toMAC = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }},
		{"IPv4 version 5", func(d *datagram) { d.version = 5 }},
		{"IPv4 header checksum", func(d *datagram) { d.sumMore = 1 }},
		{"options", func(d *datagram) { d.options = []byte{1, 1, 1, 0} }},
		{"more fragments", func(d *datagram) { d.fragment = 0x2000 }},
		{"fragment offset", func(d *datagram) { d.fragment = 1 }},
		{"largest fragment offset", func(d *datagram) { d.fragment = 0x1000 }},
		{"TCP", func(d *datagram) { d.protocol = tcp }},
		{"UDP-Lite", func(d *datagram) { d.protocol = 136 }},
		{"UDP length too small", func(d *datagram) { d.udpMore = -1 }},
		{"UDP length too large", func(d *datagram) { d.udpMore = 1 }},
		{"IPv4 length too small", func(d *datagram) { d.ipMore = -1 }},
		{"IPv4 length too large", func(d *datagram) { d.ipMore = 1 }},
		{"trailer", func(d *datagram) { d.payload = teredo.AppendNonceTrailer(d.payload, [4]byte{1, 2, 3, 4}) }},
		{"trailing byte", func(d *datagram) { d.payload = append(d.payload, 0) }},
		{"IPv6 longer than the datagram", func(d *datagram) { d.payload[5]++ }},
		{"much longer", func(d *datagram) { d.payload[4] = 0xff }},
		{"authentication", func(d *datagram) { d.payload = append(teredo.AppendAuth(nil, teredo.Auth{}), d.payload...) }},
		{"origin", func(d *datagram) { d.payload = append(teredo.AppendOrigin(nil, d.near), d.payload...) }},
		{"version 4", func(d *datagram) { d.payload[0] = 0x45 }},
		{"version 7", func(d *datagram) { d.payload[0] = 0x70 }},
		{"bubble", func(d *datagram) { d.payload = teredo.AppendBubble(nil, d.Local, d.Peer, 21) }},
		{"no next header, and a payload", func(d *datagram) { inner(d, noNextHeader, 20) }},
		{"as long as a connectivity test", func(d *datagram) { d.payload = d.ipv6(icmpv6, append([]byte{129}, make([]byte, 15)...)) }},
		{"ICMPv6 error", func(d *datagram) { d.payload = d.ipv6(icmpv6, append([]byte{1, 1}, make([]byte, 62)...)) }},
		{"ICMPv6 without a message", func(d *datagram) { inner(d, icmpv6, 0) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDatagram(e.swapped(), e.swapped().ipv6(udp, []byte("test packet")))
			test.change(&d)
			mustLeave(t, p, e, d.frame(), time.Now())
		})
	}
	whole := newDatagram(e.swapped(), e.swapped().ipv6(udp, make([]byte, 400))).frame()
	for _, age := range []time.Duration{30 * time.Second, 31 * time.Second, 24 * time.Hour} {
		t.Run(fmt.Sprint("heard ", age, " ago"), func(t *testing.T) { mustLeave(t, p, e, whole, time.Now().Add(-age)) })
	}
	t.Run("truncated", func(t *testing.T) {
		short := newDatagram(e.swapped(), e.swapped().ipv6(udp, nil)).frame()
		for size := ethernetLen + ipv4Len; size < len(short); size++ { // the kernel tests none shorter; see TestVeth
			mustLeave(t, p, e, short[:size], time.Now())
			if t.Failed() {
				t.Fatal("at", size)
			}
		}
	})
}

// What the other end's program sends closes a flow that its kernel has opened, unless it was on its way when the kernel took
// over, or the other end could not know that it may. A flow that nobody had to open stays open.
func TestIncomingCloses(t *testing.T) {
	p, e := newPath(t), testEnds()
	data := e.swapped().ipv6(udp, make([]byte, 20))
	bubble := teredo.AppendBubble(nil, e.Peer, e.Local, 21)
	hour := uint64(time.Hour) // later than now, which stands for "just now" however slow the machine is
	for _, test := range []struct {
		name         string
		encapsulated uint64
		introduced   uint64
		payload      []byte
		open         bool
	}{
		{"never with the mark", 0, 1, data, true},
		{"with the mark long ago", 1, 1, data, false},
		{"with the mark just now", uint64(bootTime(time.Now())) + hour, 1, data, true},
		{"not introduced yet", 1, 0, data, true},
		{"introduced just now", 1, uint64(bootTime(time.Now())) + hour, data, true},
		{"bubble", 1, 1, bubble, true},
	} {
		flow := e.value(1, time.Now(), true)
		flow.Encapsulated, flow.Introduced = test.encapsulated, test.introduced
		put(t, p, e.Flow, flow)
		runProgram(t, p.objects.Incoming, newDatagram(e.swapped(), test.payload).frame(), nil)
		if got := get(t, p, e.Flow); got.Open != test.open || got.Encapsulated != test.encapsulated {
			t.Errorf("%s: flow is %+v", test.name, got)
		}
		flow.Physical = true
		put(t, p, e.Flow, flow)
		runProgram(t, p.objects.Incoming, newDatagram(e.swapped(), test.payload).frame(), nil)
		if got := get(t, p, e.Flow); !got.Open {
			t.Errorf("%s, over a physical link: flow is %+v", test.name, got)
		}
	}
}

// Another processor may have heard of the flow since this one read the clock.
func TestIncomingJustHeard(t *testing.T) {
	p, e := newPath(t), testEnds()
	frame := newDatagram(e.swapped(), e.swapped().ipv6(udp, nil)).frame()
	put(t, p, e.Flow, e.value(1, time.Now().Add(time.Hour), true))
	if verdict, _ := runProgram(t, p.objects.Incoming, frame, nil); verdict != redirect {
		t.Errorf("verdict %d", verdict)
	}
}

// Only the program can take several datagrams in one apart. What follows goes there for a second, too, and stays in order.
func TestIncomingBurst(t *testing.T) {
	p, e := newPath(t), testEnds()
	before := e.value(1, time.Now(), true)
	put(t, p, e.Flow, before)
	frame := newDatagram(e.swapped(), e.swapped().ipv6(udp, make([]byte, 400))).frame()
	if verdict, after := runProgram(t, p.objects.Incoming, frame, superPacket(100)); verdict != next || !bytes.Equal(after, frame) {
		t.Errorf("verdict %d for\n%x which became\n%x", verdict, frame, after)
	}
	burst := get(t, p, e.Flow)
	if until := burst.In.Until; until < before.Heard+uint64(inOrder) || until > uint64(bootTime(time.Now().Add(inOrder))) {
		t.Errorf("to the program until %d, after %d", until, before.Heard)
	}
	if before.In.Until = burst.In.Until; burst != before {
		t.Errorf("flow is %+v, want %+v", burst, before)
	}
	for _, test := range []struct {
		age     time.Duration
		verdict int32
	}{{0, next}, {inOrder, redirect}, {time.Minute, redirect}} {
		var verdict int32
		within(func() {
			burst.In.Until = uint64(bootTime(time.Now().Add(inOrder - test.age)))
			put(t, p, e.Flow, burst)
			verdict, _ = runProgram(t, p.objects.Incoming, frame, nil)
		})
		if verdict != test.verdict {
			t.Errorf("%v after a burst: verdict %d, want %d", test.age, verdict, test.verdict)
		}
	}

	latest, done, err := p.Follow(In)
	must(t, err)
	runProgram(t, p.objects.Incoming, frame, superPacket(100))
	for _, want := range []int32{next, next, redirect} {
		burst := get(t, p, e.Flow)
		if burst.In.Handed != latest() || burst.Out.Handed != 0 {
			t.Errorf("flow is %+v, latest packet %d", burst, latest())
		}
		burst.In.Until = uint64(bootTime(time.Now()))
		put(t, p, e.Flow, burst)
		if want == redirect {
			done(latest())
		}
		if verdict, _ := runProgram(t, p.objects.Incoming, frame, nil); verdict != want {
			t.Errorf("%d packets left to the program: verdict %d, want %d", latest(), verdict, want)
		}
	}
}

// mustLeave checks that the program leaves a frame, and the flow, alone.
func mustLeave(t *testing.T, p *Path, e ends, frame []byte, heard time.Time) {
	t.Helper()
	before := e.value(1, heard, true)
	put(t, p, e.Flow, before)
	if verdict, after := runProgram(t, p.objects.Incoming, frame, nil); verdict != next || !bytes.Equal(after, frame) {
		t.Errorf("verdict %d\ngot  %x\nwant %x", verdict, after, frame)
	}
	if now := get(t, p, e.Flow); now != before {
		t.Errorf("flow is %+v, want %+v", now, before)
	}
}

// However a packet is changed, the program takes exactly those that are still plain.
func TestIncomingMutated(t *testing.T) {
	p, e := newPath(t), testEnds()
	put(t, p, e.Flow, e.value(1, time.Now(), true))
	valid := newDatagram(e.swapped(), e.swapped().ipv6(udp, make([]byte, 24))).frame()
	random := rand.New(rand.NewPCG(3544, 4380))
	var taken int
	for range 30_000 {
		frame := mutate(random, valid)
		verdict, after := runProgram(t, p.objects.Incoming, frame, nil)
		want, whole := int32(next), frame
		if e.plain(frame) {
			taken++
			size := headersLen - ethernetLen
			want, whole = redirect, slices.Delete(slices.Clone(frame), ethernetLen, ethernetLen+size)
			put(t, p, e.Flow, e.value(1, time.Now(), true))
		}
		if verdict != want || !bytes.Equal(after[min(ethernetLen, len(after)):], whole[ethernetLen:]) {
			t.Fatalf("verdict %d, want %d, for\n%x which became\n%x", verdict, want, frame, after)
		}
	}
	if taken == 0 {
		t.Error("no packet was still plain")
	}
}

// mutate changes a few bits or bytes of the headers, or the size, of a frame.
func mutate(random *rand.Rand, valid []byte) []byte {
	frame := slices.Clone(valid)
	for range 1 + random.IntN(3) {
		i := ethernetLen + random.IntN(headersLen+teredo.HeaderLen-ethernetLen)
		switch random.IntN(3) {
		case 0:
			frame[i] = byte(random.Uint32())
		case 1:
			frame[i] ^= 1 << random.IntN(8)
		default:
			frame[i] += byte(random.IntN(5) - 2)
		}
	}
	if random.IntN(8) == 0 {
		frame = append(frame, make([]byte, random.IntN(9))...)
	}
	if random.IntN(8) > 0 {
		setChecksum(frame[ethernetLen:])
	}
	return frame
}
