package peer_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// The people of the play.
var (
	server     = netip.MustParseAddrPort("203.0.113.1:3544")
	peerServer = netip.MustParseAddrPort("203.0.113.2:3544")
	ownMapped  = netip.MustParseAddrPort("192.0.2.1:4096")
	peerMapped = netip.MustParseAddrPort("192.0.2.10:8192")
	relay1     = netip.MustParseAddrPort("198.51.100.7:3545")
	relay2     = netip.MustParseAddrPort("198.51.100.8:3545")

	own       = teredo.Address{Server: server.Addr(), Flags: 0x1234 & teredo.FlagRandomMask, Mapped: ownMapped}.Addr()
	other     = teredo.Address{Server: peerServer.Addr(), Flags: 0x2b2b & teredo.FlagRandomMask, Mapped: peerMapped}.Addr()
	host      = netip.MustParseAddr("2001:db8::80")
	relayLL   = netip.MustParseAddr("fe80::7")
	relayAddr = netip.MustParseAddr("2001:db8::7")

	labs = teredo.Filter{Permit: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	}}
)

// names makes addresses readable in what a rig reports.
func names() (map[netip.Addr]string, map[netip.AddrPort]string) {
	return map[netip.Addr]string{
			own: "own", other: "other", host: "host", relayLL: "relay", relayAddr: "relay",
			teredo.ServerLinkLocal(server.Addr()): "server",
		}, map[netip.AddrPort]string{
			server: "server", peerServer: "peer-server", ownMapped: "own", peerMapped: "other", relay1: "relay1", relay2: "relay2",
		}
}

// machine is what client and relay have in common.
type machine interface {
	Table() *peer.Table
	Outbound(now time.Time, packet []byte, out *peer.Output)
	Inbound(now time.Time, from netip.AddrPort, p *teredo.Packet, out *peer.Output)
	Refresh(now time.Time, packet []byte, out *peer.Output)
	Tick(now time.Time, out *peer.Output)
	Deadline() (time.Time, bool)
	Peers(now time.Time, most int) []peer.Info
	Len() int
	Held() int
	Waiting() int
	Knows(netip.Addr) bool
	Establish(a netip.Addr, at netip.AddrPort, now peer.Stamp)
	Check() error
	Budgets() peer.Budgets
}

// rig runs a machine under virtual time the way package tunnel does, and reports in words what comes out.
type rig struct {
	testing.TB
	m     machine
	now   time.Time
	out   peer.Output
	drops *drop.Counters
	test  []byte     // the last connectivity test that was sent
	asked netip.Addr // source of the last bubble that was sent
	nonce uint64

	nonces    [][4]byte // of the indirect bubbles that were sent; reports name them n1, n2 and so on
	echoTests [][8]byte // nonces of the router solicitations that were sent
}

// epoch is when every test begins.
var epoch = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

func newRig(t testing.TB) (*rig, peer.Config) {
	r := &rig{TB: t, now: epoch, drops: new(drop.Counters)}
	random := func(b []byte) {
		clear(b)
		r.nonce++
		copy(b[max(0, len(b)-8):], binary.BigEndian.AppendUint64(nil, 0x0102030405060708*r.nonce))
	}
	return r, peer.Config{Capacity: 64, Filter: labs, Drops: r.drops, Rand: random}
}

func clientRig(t testing.TB) (*rig, *peer.Client) {
	r, cfg := newRig(t)
	c := peer.NewClient(r.now, cfg)
	c.SetAddress(own)
	r.m = c
	return r, c
}

func relayRig(t testing.TB) (*rig, *peer.Relay) {
	r, cfg := newRig(t)
	m := peer.NewRelay(r.now, relayAddr, cfg)
	r.m = m
	return r, m
}

// send gives a packet of the local stack, or of the native side, to the machine.
func (r *rig) send(packet []byte) []string {
	r.outgoing(packet)
	return r.report()
}

func (r *rig) outgoing(packet []byte) {
	to, via, action := r.m.Table().Outgoing(packet, 1, len(packet), r.m.Table().Stamp(r.now))
	if action == peer.Ask {
		r.m.Outbound(r.now, packet, &r.out)
		return
	}
	r.out.UDP.SendVia(via, to, append(r.out.UDP.Next(), packet...))
	if action == peer.Refresh {
		r.m.Refresh(r.now, packet, &r.out)
	}
}

// receive gives a UDP payload to the machine.
func (r *rig) receive(from netip.AddrPort, payload []byte) []string {
	r.incoming(from, payload)
	return r.report()
}

func (r *rig) incoming(from netip.AddrPort, payload []byte) { r.incomingAt(0, from, payload) }

// wait lets time pass, and reports what the machine did of its own accord, each line with the time since the wait began.
func (r *rig) wait(d time.Duration) (lines []string) {
	r.Helper()
	start, end, idle := r.now, r.now.Add(d), 0
	for {
		at, ok := r.m.Deadline()
		if !ok || at.After(end) {
			r.now = end
			return lines
		}
		if at.After(r.now) {
			r.now, idle = at, 0
		} else if idle++; idle > 1000 {
			r.Fatalf("Deadline stays at %v, %v after the start", at, r.now.Sub(epoch))
		}
		r.m.Tick(r.now, &r.out)
		for _, line := range r.report() {
			lines = append(lines, fmt.Sprintf("%v %s", r.now.Sub(start), line))
		}
	}
}

// report describes what was sent, delivered and dropped, in this order.
func (r *rig) report() (lines []string) {
	r.Helper()
	addrs, ports := names()
	for _, d := range r.out.UDP.Datagrams() {
		name, ok := ports[d.Remote]
		if !ok {
			name = d.Remote.String()
		}
		if teredo.IsICMPv6Type(d.Payload, teredo.ICMPv6EchoRequest) {
			r.test = append([]byte(nil), d.Payload...)
		}
		if teredo.IsBubble(d.Payload) {
			r.asked = teredo.Source(d.Payload)
		}
		line, trailers := r.describe(d, addrs)
		line += " to " + name
		if d.Via != 0 {
			line += fmt.Sprintf(" from port %d", d.Via)
		}
		lines = append(lines, line+trailers)
	}
	for _, d := range r.out.TUN.Datagrams() {
		lines = append(lines, "deliver "+describe(d.Payload, addrs))
	}
	r.out.Reset()
	for why := drop.None + 1; why.String() != "unknown"; why++ {
		if n := r.drops.Get(why); n > 0 {
			lines = append(lines, fmt.Sprintf("drop %v %v", n, why))
		}
	}
	*r.drops = drop.Counters{}
	if err := r.m.Check(); err != nil {
		r.Fatalf("%v after the start: %v", r.now.Sub(epoch), err)
	}
	return lines
}

func describe(ipv6 []byte, addrs map[netip.Addr]string) string {
	name := func(a netip.Addr) string {
		if n, ok := addrs[a]; ok {
			return n
		}
		if a.IsLinkLocalUnicast() {
			return "relay" // each client sees the relay at an address of its own
		}
		return a.String()
	}
	if err := teredo.CheckIPv6(ipv6); err != nil {
		return fmt.Sprintf("%x: %v", ipv6, err)
	}
	path := " " + name(teredo.Source(ipv6)) + ">" + name(teredo.Destination(ipv6))
	echo, err := teredo.ParseEcho(ipv6)
	switch {
	case teredo.IsBubble(ipv6):
		return "bubble" + path
	case err == nil && echo.Type == teredo.ICMPv6EchoRequest && len(echo.Data) == 8:
		return "test" + path
	case err == nil:
		return fmt.Sprintf("echo %d", echo.Type) + path
	case teredo.IsICMPv6Type(ipv6, teredo.ICMPv6Unreachable):
		return "unreachable" + path + ", " + describe(ipv6[48:], addrs)
	case teredo.NextHeader(ipv6) == dataHeader && len(ipv6) >= 44:
		return fmt.Sprintf("data %d", binary.BigEndian.Uint32(ipv6[40:])) + path
	}
	return fmt.Sprintf("protocol %d", teredo.NextHeader(ipv6)) + path
}

// reply is the answer to the last connectivity test.
func (r *rig) reply() []byte {
	r.Helper()
	reply := teredo.AppendEchoReply(nil, teredo.Destination(r.test), r.test)
	if len(reply) == 0 {
		r.Fatal("no connectivity test was sent")
	}
	return reply
}

// want compares a report.
func (r *rig) want(got []string, want ...string) {
	r.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		r.Fatalf("%v after the start (-want +got):\n%s", r.now.Sub(epoch), diff)
	}
}

// dataHeader is the Next Header of data packets in these tests: UDP.
const dataHeader = 17

// data makes an IPv6 packet with a number to know it by.
func data(src, dst netip.Addr, number uint32) []byte { return sized(src, dst, number, 48) }

// sized makes a data packet of the given size.
func sized(src, dst netip.Addr, number uint32, size int) []byte {
	p := teredo.AppendBubble(nil, src, dst, 64)
	binary.BigEndian.PutUint16(p[4:], uint16(size-teredo.HeaderLen))
	p[6] = dataHeader
	p = append(p, make([]byte, size-teredo.HeaderLen)...)
	binary.BigEndian.PutUint32(p[teredo.HeaderLen:], number)
	return p
}

func bubble(src, dst netip.Addr) []byte { return teredo.AppendBubble(nil, src, dst, 255) }

// via puts an origin indication before a packet, as a server does.
func via(origin netip.AddrPort, packet []byte) []byte {
	return append(teredo.AppendOrigin(nil, origin), packet...)
}

// client returns the address of one of many other clients. They differ in all parts of their addresses.
func client(n int) netip.Addr {
	return teredo.Address{
		Server: netip.AddrFrom4([4]byte{4, byte(n >> 8), byte(n), 4}), Flags: uint16(n) & teredo.FlagRandomMask,
		Mapped: netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, byte(n >> 16), byte(n >> 8), byte(n)}), uint16(1024+n%60000)),
	}.Addr()
}

// native returns the address of one of many native hosts.
func native(n int) netip.Addr {
	a := host.As16()
	binary.BigEndian.PutUint32(a[8:], uint32(n))
	return netip.AddrFrom16(a)
}

// incoming asks a table about a single payload as a worker does.
func incoming(t *peer.Table, payload []byte, from netip.AddrPort, via uint8, now peer.Stamp) peer.Action {
	if !t.Plain(payload) {
		return peer.Ask
	}
	return t.Incoming(payload, from, via, 1, len(payload), now)
}
