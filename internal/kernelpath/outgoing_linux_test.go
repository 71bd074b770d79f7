package kernelpath

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// wire is a path over a virtual link to a neighbour, whom the test plays.
type wire struct {
	*Path
	ends
	tun       int          // of the program
	near, far netlink.Link // ends of the link
	link      int          // socket at the far end
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := newLink(t)
	w.Path = openPath(t, w.ends.near, 16)
	return w
}

// newLink makes all but the path.
func newLink(t *testing.T) *wire {
	t.Helper()
	inNamespace(t)
	withoutIPv6(t)
	w := &wire{ends: testEnds(), tun: newTUN(t, false)}
	w.near, w.far = newVeth(t, "near", "far")
	addAddress(t, w.near, "192.0.2.1/24")
	must(t, netlink.NeighAdd(&netlink.Neigh{
		LinkIndex: w.near.Attrs().Index, State: netlink.NUD_PERMANENT,
		IP: w.ends.far.Addr().AsSlice(), HardwareAddr: w.far.Attrs().HardwareAddr,
	}))
	w.link = packetSocket(t, unix.SOCK_RAW, w.far, unix.ETH_P_IP)
	return w
}

// heardJustNow is the age of a reception from which no time passes in a test, however slow the machine is.
const heardJustNow = -time.Minute

// put makes the flow, which was heard of so long ago.
func (w *wire) put(t *testing.T, age time.Duration, open bool) objectFlow {
	t.Helper()
	value := w.value(w.near.Attrs().Index, time.Now().Add(-age), open)
	put(t, w.Path, w.Flow, value)
	return value
}

// attachUplink has the kernel look at what comes in.
func (w *wire) attachUplink(t *testing.T) {
	t.Helper()
	up, err := w.attach(w.near.Attrs().Index)
	must(t, err)
	w.uplinks[up.index] = up
}

// answer is a packet from the neighbour, as a frame.
func (w *wire) answer(packet []byte) []byte {
	d := newDatagram(w.swapped(), packet)
	d.toMAC, d.fromMAC = [6]byte(w.near.Attrs().HardwareAddr), [6]byte(w.far.Attrs().HardwareAddr)
	return d.frame()
}

// frame is what must leave the host.
func (w *wire) frame(number uint64, packet []byte) []byte {
	d := newDatagram(w.ends, packet)
	d.id = uint16(number)
	d.toMAC, d.fromMAC = [6]byte(w.far.Attrs().HardwareAddr), [6]byte(w.near.Attrs().HardwareAddr)
	return d.frame()
}

// A packet of a flow leaves in a datagram whose headers are right in every bit: RFC 4380 §5.1.2 wants no DF, and the
// identification must be a new one then (RFC 6864).
func TestOutgoing(t *testing.T) {
	w := newWire(t)
	for _, test := range []struct {
		name   string
		packet []byte
	}{
		{"UDP", w.ipv6(udp, []byte("test packet"))},
		{"TCP", w.ipv6(tcp, make([]byte, 20))},
		{"odd size", w.ipv6(udp, make([]byte, 1231))},
		{"whole MTU", w.ipv6(udp, make([]byte, teredo.MTU-teredo.HeaderLen))},
		{"nothing in it", w.ipv6(udp, nil)},
		{"bubble", teredo.AppendBubble(nil, w.Local, w.Peer, 21)},
		{"as long as a connectivity test", w.ipv6(icmpv6, make([]byte, 16))},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := w.put(t, heardJustNow, true)
			for range 3 {
				must(t, w.Send(test.packet))
				if got := receive(t, w.link); !bytes.Equal(got, w.frame(want.Sent, test.packet)) {
					t.Errorf("got  %x\nwant %x", got, w.frame(want.Sent, test.packet))
				}
				want.Sent++
				want.SentBytes += uint64(len(test.packet))
			}
			if now := get(t, w.Path, w.Flow); known(now) != known(want) {
				t.Errorf("flow is %+v, want %+v", now, want)
			}
		})
	}
	if failed, err := w.Failed(); failed != 0 || err != nil {
		t.Errorf("failed: %d, %v", failed, err)
	}
}

// The identification goes round, and the checksum is right for each.
func TestIdentification(t *testing.T) {
	w := newWire(t)
	value := w.put(t, heardJustNow, true)
	packet := w.ipv6(tcp, make([]byte, 20))
	for _, first := range []uint64{math.MaxUint16 - 1, math.MaxUint32 - 1, 0} {
		value.Sent = first
		put(t, w.Path, w.Flow, value)
		for i := range uint64(300) {
			must(t, w.Send(packet))
			if got := receive(t, w.link); !bytes.Equal(got, w.frame(first+i, packet)) {
				t.Fatalf("packet %d: got  %x\nwant %x", i, got, w.frame(first+i, packet))
			}
		}
	}
}

// What belongs to no flow, or to one that is not confirmed or not open, comes out of the TUN device.
func TestOutgoingLeft(t *testing.T) {
	w := newWire(t)
	ordinary, bubble := w.ipv6(udp, []byte("test packet")), teredo.AppendBubble(nil, w.Local, w.Peer, 21)
	from, to := w.ends, w.ends
	from.Local, to.Peer = from.Local.Next(), to.Peer.Next()
	for _, test := range []struct {
		name   string
		packet []byte
		age    time.Duration
		closed bool
		left   bool
	}{
		{name: "heard just now", packet: ordinary, age: heardJustNow},
		{name: "heard 2 s ago", packet: ordinary, age: 2 * time.Second, left: true}, // over a virtual link
		{name: "bubble, heard 10 s ago", packet: bubble, age: 10 * time.Second},
		{name: "heard since the clock was read", packet: ordinary, age: -time.Hour},
		{name: "heard 20 s ago", packet: ordinary, age: 20 * time.Second, left: true},
		{name: "heard a day ago", packet: ordinary, age: 24 * time.Hour, left: true},
		{name: "bubble, heard 20 s ago", packet: bubble, age: 20 * time.Second, left: true},
		{name: "closed", packet: ordinary, closed: true, left: true},
		{name: "bubble, closed", packet: bubble, closed: true},
		{name: "bubble, closed, heard 20 s ago", packet: bubble, closed: true, age: 20 * time.Second, left: true},
		{name: "no flow to the peer", packet: to.ipv6(udp, nil), left: true},
		{name: "no flow from the address", packet: from.ipv6(udp, nil), left: true},
		{name: "the other direction", packet: w.swapped().ipv6(udp, nil), left: true},
		{name: "shorter than a header", packet: ordinary[:39], left: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := w.put(t, test.age, !test.closed)
			must(t, w.Send(test.packet))
			if test.left {
				if got := receive(t, w.tun); !bytes.Equal(got, test.packet) {
					t.Errorf("the program gets %x\nwant             %x", got, test.packet)
				}
			} else {
				if got := receive(t, w.link); !bytes.Equal(got, w.frame(want.Sent, test.packet)) {
					t.Errorf("got  %x\nwant %x", got, w.frame(want.Sent, test.packet))
				}
				want.Sent++
				want.SentBytes += uint64(len(test.packet))
			}
			if now := get(t, w.Path, w.Flow); known(now) != known(want) {
				t.Errorf("flow is %+v, want %+v", now, want)
			}
		})
	}
	t.Run("IPv4", func(t *testing.T) {
		w.put(t, heardJustNow, true)
		to := &unix.SockaddrLinklayer{Ifindex: w.Path.tun, Protocol: networkOrder(unix.ETH_P_IP)}
		must(t, unix.Sendto(w.packets, ordinary, 0, to))
		if got := receive(t, w.tun); !bytes.Equal(got, ordinary) {
			t.Errorf("the program gets %x", got)
		}
	})
	if got := receiveNow(t, w.link); got != nil {
		t.Errorf("left the host: %x", got)
	}
	if got := receiveNow(t, w.tun); got != nil {
		t.Errorf("the program gets %x", got)
	}
}

// Only the program can send a super-packet of UDP. What follows goes there for a second, too, and stays in order.
func TestOutgoingBurst(t *testing.T) {
	w := newWire(t)
	before, began := w.put(t, heardJustNow, true), time.Now()
	ethernet := append(make([]byte, ethernetLen-2), 0x86, 0xdd)
	frame := slices.Concat(ethernet, w.ipv6(udp, make([]byte, 400)))
	if verdict, after := runProgram(t, w.objects.Outgoing, frame, superPacket(100)); verdict != next || !bytes.Equal(after, frame) {
		t.Errorf("verdict %d for\n%x which became\n%x", verdict, frame, after)
	}
	burst := get(t, w.Path, w.Flow)
	if until := burst.Out.Until; until < uint64(bootTime(began.Add(inOrder))) || until > uint64(bootTime(time.Now().Add(inOrder))) {
		t.Errorf("to the program until %d, after %v", until, began)
	}
	if known(burst) != known(before) {
		t.Errorf("flow is %+v, want %+v", burst, before)
	}
	packet := w.ipv6(tcp, make([]byte, 20))
	for _, test := range []struct {
		age  time.Duration
		left bool
	}{{0, true}, {inOrder, false}, {time.Minute, false}} {
		var toProgram []byte
		within(func() {
			burst.Out.Until = uint64(bootTime(time.Now().Add(inOrder - test.age)))
			put(t, w.Path, w.Flow, burst)
			must(t, w.Send(packet))
			toProgram = receiveNow(t, w.tun)
		})
		if left := bytes.Equal(toProgram, packet); left != test.left {
			t.Errorf("%v after a burst: left %v", test.age, left)
		}
	}
}

// When its burst is over, a flow stays with the program until that has sent all that it was left, so that packets stay in order.
func TestOutgoingAfterBurst(t *testing.T) {
	w := newWire(t)
	w.put(t, heardJustNow, true)
	ethernet := append(make([]byte, ethernetLen-2), 0x86, 0xdd)
	runProgram(t, w.objects.Outgoing, slices.Concat(ethernet, w.ipv6(udp, make([]byte, 400))), superPacket(100))
	if got := get(t, w.Path, w.Flow); got.Out.Handed != 0 {
		t.Errorf("nobody follows: packet %d", got.Out.Handed)
	}
	latest, done, err := w.Follow(Out)
	must(t, err)
	packet, minute := w.ipv6(tcp, make([]byte, 20)), time.Minute
	for _, test := range []struct {
		name   string
		age    time.Duration // since the burst was over
		unsent uint64
		left   bool
	}{
		{"during a burst", -minute, 0, true}, {"after it", 0, 1, true}, {"more is unsent", 0, 2, true}, {"all is sent", 0, 0, false},
		{"during another burst", -minute, 0, true}, {"overload", minute, 1, false},
	} {
		within(func() {
			flow := get(t, w.Path, w.Flow)
			flow.Out.Until = uint64(bootTime(time.Now().Add(-test.age)))
			put(t, w.Path, w.Flow, flow)
			before := latest()
			done(before - test.unsent)
			must(t, w.Send(packet))
			toProgram := receiveNow(t, w.tun)
			if left := bytes.Equal(toProgram, packet); left != test.left || latest() != before+uint64(len(toProgram)/len(packet)) {
				t.Errorf("%s: left %v, packet %d after %d", test.name, left, latest(), before)
			}
			if flow := get(t, w.Path, w.Flow); test.left && flow.Out.Handed != latest() {
				t.Errorf("%s: flow is %+v, latest packet %d", test.name, flow, latest())
			}
		})
	}
}

// Datagrams that come briskly are a burst, too. Those of TCP, and those that take their time, are none.
func TestOutgoingBrisk(t *testing.T) {
	w := newWire(t)
	ethernet := append(make([]byte, ethernetLen-2), 0x86, 0xdd)
	for _, test := range []struct {
		name   string
		next   byte
		repeat uint32
		burst  bool
	}{{"many datagrams", udp, 1000, true}, {"few datagrams", udp, 60, false}, {"many of TCP", tcp, 1000, false}} {
		before := w.put(t, 0, false) // a closed flow leaves the packet as it is, so it can come again
		frame := slices.Concat(ethernet, w.ipv6(test.next, make([]byte, 400)))
		verdict, err := w.objects.Outgoing.Run(&ebpf.RunOptions{Data: frame, Repeat: test.repeat})
		must(t, err)
		after := get(t, w.Path, w.Flow)
		if burst := after.Out.Until != 0; int32(verdict) != next || burst != test.burst || known(after) != known(before) {
			t.Errorf("%s: verdict %d, flow is %+v, was %+v", test.name, int32(verdict), after, before)
		}
	}
	slow := w.put(t, heardJustNow, true)
	slow.Brisk, slow.Last = 1000, uint64(bootTime(time.Now().Add(-time.Second)))
	put(t, w.Path, w.Flow, slow)
	packet := w.ipv6(udp, make([]byte, 400))
	must(t, w.Send(packet))
	if got := receive(t, w.link); !bytes.Equal(got, w.frame(slow.Sent, packet)) {
		t.Errorf("after a pause: got  %x\nwant %x", got, w.frame(slow.Sent, packet))
	}
}

// Who answers each packet at once sends no burst, however quickly that goes.
func TestOutgoingAnswers(t *testing.T) {
	w := newWire(t)
	frame := slices.Concat(append(make([]byte, ethernetLen-2), 0x86, 0xdd), w.ipv6(udp, make([]byte, 400)))
	for _, test := range []struct {
		name     string
		received uint64 // since the last packet
		brisk    uint16
	}{{"alone", 0, 64}, {"an answer", 1, 0}} {
		flow := w.put(t, 0, false)
		flow.Brisk, flow.Last = 63, uint64(bootTime(time.Now().Add(time.Hour))) // so that it is brisk on any machine
		flow.Answered = uint32(flow.Received - test.received)
		put(t, w.Path, w.Flow, flow)
		runProgram(t, w.objects.Outgoing, frame, nil)
		got := get(t, w.Path, w.Flow)
		if got.Brisk != test.brisk || got.Answered != uint32(got.Received) || (got.Out.Until != 0) != (test.brisk == 64) {
			t.Errorf("%s: flow is %+v", test.name, got)
		}
	}
}
