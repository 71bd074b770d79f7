package wild_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// The people of the vectors. The server is 192.0.2.1 with 192.0.2.2, the peer's is 192.0.2.65.
var (
	server1    = netip.MustParseAddr("192.0.2.1")
	server2    = netip.MustParseAddr("192.0.2.2")
	clientAt   = netip.MustParseAddrPort("203.0.113.5:40000")
	peerAt     = netip.MustParseAddrPort("198.51.100.9:51200")
	relayAt    = netip.MustParseAddrPort("198.51.100.77:36722")
	client     = netip.MustParseAddr("2001:0:c000:201:3ca5:63bf:34ff:8efa")
	native     = netip.MustParseAddr("2001:db8::80")
	nonce      = [8]byte{0xb1, 0x1b, 0x3f, 0xea, 0x46, 0xa9, 0xaf, 0xe9}
	epoch      = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	permitted  = teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24")}}
	fromServer = netip.AddrPortFrom(server1, teredo.Port)
)

// The same as they stand in packets, and other parts of those.
const (
	clientHex  = " 20010000 c0000201 3ca563bf 34ff8efa "
	peerHex    = " 20010000 c0000241 201a37ff 39cc9bf6 "
	nativeHex  = " 20010db8 00000000 00000000 00000080 "
	serverHex  = " fe800000 00000000 8000f227 3ffffdfe "
	relayHex   = " fe800000 00000000 708dfe83 4114a512 "
	routersHex = " ff020000 00000000 00000000 00000002 "

	authHex      = "0001 0000 b11b3fea46a9afe9 00 "
	otherAuthHex = "0001 0000 d92cdf71f6e45238 00 "

	// Windows 7 to 10 solicit from fe80::ffff:ffff:fffe.
	solicitHex = "60000000 0008 3aff fe800000 00000000 0000ffff fffffffe" + routersHex + "85007d38 00000000"
	// Windows of 2008 solicits with the cone bit, and tells what address it would have in a link-layer address option of 16 bytes.
	solicit2008Hex = "60000000 0018 3aff fe800000 00000000 8000ffff fffffffd" + routersHex + "8500546d 00000000 01020000 00000000 800063bf 34ff8efa"
	// What advertisements say of the server 192.0.2.1, but for their checksum.
	prefixHex = "00000000 00003a98 000007d0 03044040 ffffffff ffffffff 00000000 20010000 c0000201 ff000000 00200100"

	// Nonce, alternate address, random port: 192.168.178.14:61286, and 57208 by its bits.
	trailersHex = "0104 77a05e76 0308 0000 c0a8b20e ef66 0502 df78"

	// A connectivity test with a nonce of 4 bytes.
	testHex = "60000000 000c 3a15" + clientHex + nativeHex + "8000bf6d 390c50a3 c0000201"

	fromRelayHex = "0000 708d 39cc9bb2 " // an origin indication with 198.51.100.77:36722
)

// vector is a UDP payload that somebody's program sends, and what comes of it, in words: what is sent where, what is
// delivered and what is dropped.
type vector struct {
	name    string
	local   int // address of the server that it comes to
	from    netip.AddrPort
	payload string
	want    []string
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHabitsAtServer gives a server what Windows and relays of Hurricane Electric send (W-RS-02, S-RS-01, S-RS-03, S-RS-04,
// S-FWD-03, S-FWD-07).
func TestHabitsAtServer(t *testing.T) {
	answer := func(from netip.Addr, auth, dst, checksum string) []string {
		// Ours has no bits after the prefix, and an MTU.
		return []string{fmt.Sprintf("%v sends to %v: %s", from, clientAt, compact(auth+"0000 63bf 34ff8efa 60000000 0038 3aff"+serverHex+
			"fe800000 00000000 "+dst+"8600"+checksum+"00000000 00000000 00000000 03044040 ffffffff ffffffff 00000000 20010000 c0000201 00000000 00000000 0501 0000 00000500"))}
	}
	first, second := answer(server1, authHex, "0000ffff fffffffe", "9d1d"), answer(server2, otherAuthHex, "0000ffff fffffffe", "9d1d")
	h, err := server.NewHandler(server.Config{Primary: server1, Secondary: server2, Filter: permitted})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []vector{
		{"solicitation", server.Primary, clientAt, authHex + solicitHex, first},
		{"4 µs later, to the next address, with another nonce", server.Secondary, clientAt, otherAuthHex + solicitHex, second},
		{"30 s later, with the same nonce", server.Primary, clientAt, authHex + solicitHex, first},
		{"cone bit, option of 16 bytes", server.Primary, clientAt, authHex + solicit2008Hex, answer(server2, authHex, "8000ffff fffffffd", "1d1e")},
		{"cone bit, to the next address", server.Secondary, clientAt, authHex + solicit2008Hex, answer(server1, authHex, "8000ffff fffffffd", "1d1e")},
		{"connectivity test: hop limit 21, 4 bytes of nonce", server.Primary, clientAt, testHex,
			[]string{"native to 2001:db8::80: " + compact(strings.Replace(testHex, "3a15", "3a14", 1))}},
		{"indirect bubble: hop limit 21, three trailers", server.Primary, peerAt, "60000000 0000 3b15" + peerHex + clientHex + trailersHex,
			[]string{"192.0.2.1 sends to " + clientAt.String() + ": " + compact("0000 37ff 39cc9bf6 60000000 0000 3b15"+peerHex+clientHex+trailersHex)}},
		{"bubble of a relay: hop limit 0, random source", server.Primary, relayAt, "60000000 0000 3b00" + relayHex + clientHex,
			[]string{"192.0.2.1 sends to " + clientAt.String() + ": " + compact(fromRelayHex+"60000000 0000 3b00"+relayHex+clientHex)}},
	} {
		t.Run(v.name, func(t *testing.T) {
			var got []string
			switch d := h.Handle(v.local, v.from, unhex(t, v.payload), make([]byte, 0, server.MaxOutput)); d.Action {
			case server.Send:
				got = append(got, fmt.Sprintf("%v sends to %v: %x", [...]netip.Addr{server1, server2}[d.Local], d.To, d.Payload))
			case server.Native:
				got = append(got, fmt.Sprintf("native to %v: %x", d.To.Addr(), d.Payload))
			default:
				got = append(got, fmt.Sprintf("drop %v", d.Reason))
			}
			if diff := cmp.Diff(v.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// compact is the text of bytes without the spaces between them.
func compact(s string) string { return strings.ReplaceAll(s, " ", "") }

// TestHabitsAtClient gives a client what servers, Windows and relays send (C-RX-05, C-RX-06, C-RX-12, W-TRL-07, X-TRL-01, A-01, A-37).
func TestHabitsAtClient(t *testing.T) {
	const answer = "bubble to 198.51.100.9:51200"
	for _, v := range []vector{
		{"forwarded bubble without an origin indication, three trailers", 0, fromServer,
			"60000000 0000 3b15" + peerHex + clientHex + trailersHex,
			[]string{answer, "bubble to 192.168.178.14:61286", "bubble to 192.0.2.65:3544", "bubble to 198.51.100.9:57208"}},
		{"the same with an origin indication", 0, fromServer,
			"0000 0bb7 3fffffbe 60000000 0000 3b15" + peerHex + clientHex + trailersHex,
			[]string{answer, "bubble to 192.168.178.14:61286", "bubble to 192.0.2.65:3544", "bubble to 198.51.100.9:57208"}},
		{"bubble of a relay: hop limit 0, random source", 0, fromServer, fromRelayHex + "60000000 0000 3b00" + relayHex + clientHex,
			[]string{"bubble to 198.51.100.77:36722"}},
		{"bubble of a server that is a relay: hop limit 21, origin itself", 0, fromServer,
			"0000 f227 3ffffdfe 60000000 0000 3b15" + serverHex + clientHex, []string{"bubble to 192.0.2.1:3544"}},
		{"direct bubble: hop limit 21", 0, peerAt, "60000000 0000 3b15" + peerHex + clientHex, []string{"path to 198.51.100.9:51200"}},
		{"direct bubble: hop limit 0, three trailers", 0, peerAt, "60000000 0000 3b00" + peerHex + clientHex + trailersHex,
			[]string{"path to 198.51.100.9:51200"}},
		{"ping of a peer: hop limit 21, 4 bytes", 0, peerAt, "60000000 000c 3a15" + peerHex + clientHex + "8000dd47 390c50a3 c0000241",
			[]string{"deliver 8000dd47390c50a3c0000241", "path to 198.51.100.9:51200"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			c := peer.NewClient(epoch, peer.Config{
				Capacity: 8, Filter: permitted, Drops: new(drop.Counters), Extensions: peer.Extensions{SymmetricNAT: true, PortPreserving: true, Hairpinning: true, LoadReduction: true},
			})
			c.SetAddress(client)
			c.SetNAT(peer.NAT{Local: netip.MustParseAddrPort("10.0.0.1:40000")})
			v.play(t, func(now time.Time, from netip.AddrPort, p *teredo.Packet, out *peer.Output) {
				c.InboundVia(now, from, 0, p, out)
			}, c.Peer)
		})
	}
}

// TestHabitsAtRelay gives a relay what Windows answers to its bubble, and sends to native hosts (R-RX-01, R-RX-02).
func TestHabitsAtRelay(t *testing.T) {
	const path = "path to 203.0.113.5:40000"
	for _, v := range []vector{
		{"answer to its bubble: hop limit 0", 0, clientAt, "60000000 0000 3b00" + clientHex + relayHex, []string{"data to 203.0.113.5:40000", path}},
		{"answer to its bubble: hop limit 21", 0, clientAt, "60000000 0000 3b15" + clientHex + relayHex, []string{"data to 203.0.113.5:40000", path}},
		{"connectivity test: hop limit 21, 4 bytes of nonce", 0, clientAt, testHex,
			[]string{"data to 203.0.113.5:40000", "deliver 8000bf6d390c50a3c0000201", path}},
	} {
		t.Run(v.name, func(t *testing.T) {
			r := peer.NewRelay(epoch, native, peer.Config{Capacity: 8, Filter: permitted, Drops: new(drop.Counters)})
			var out peer.Output
			r.Outbound(epoch, unhex(t, "60000000 0000 1140"+nativeHex+clientHex), &out) // has a bubble sent
			v.play(t, r.Inbound, r.Peer)
		})
	}
}

// play gives the payload to a machine, and compares what comes out, and the path to the peer if there is one then.
func (v vector) play(t *testing.T, inbound func(time.Time, netip.AddrPort, *teredo.Packet, *peer.Output), find func(time.Time, netip.Addr) (peer.Info, bool)) {
	t.Helper()
	var p teredo.Packet
	if err := p.Parse(unhex(t, v.payload)); err != nil {
		t.Fatal(err)
	}
	var out peer.Output
	inbound(epoch, v.from, &p, &out)
	var got []string
	for _, d := range out.UDP.Datagrams() {
		var sent teredo.Packet
		if err := sent.Parse(d.Payload); err != nil {
			t.Fatal(err)
		}
		what := "data"
		if teredo.IsBubble(sent.IPv6) {
			what = "bubble"
		}
		got = append(got, fmt.Sprintf("%s to %v", what, d.Remote))
	}
	for _, d := range out.TUN.Datagrams() {
		got = append(got, fmt.Sprintf("deliver %x", d.Payload[teredo.HeaderLen:]))
	}
	if i, _ := find(epoch, teredo.Source(p.IPv6)); i.State == "trusted" {
		got = append(got, fmt.Sprintf("path to %v", i.Endpoint))
	}
	if diff := cmp.Diff(v.want, got); diff != "" {
		t.Error(diff)
	}
}

// W-RA-03: a client takes the advertisement of Microsoft's servers, and that of trex.fi's.
func TestHabitsOfServers(t *testing.T) {
	m, err := qualify.New(qualify.Config{Server: server1, Filter: permitted, Rand: func(b []byte) { copy(b, nonce[:]) }})
	if err != nil {
		t.Fatal(err)
	}
	var out teredo.Outbox
	m.Start(epoch, &out)
	var p teredo.Packet
	if err := p.Parse(unhex(t, authHex+"0000 63bf 34ff8efa 60000000 0030 3aff"+serverHex+"fe800000 00000000 0000ffff ffffffff 8600649c"+prefixHex)); err != nil {
		t.Fatal(err)
	}
	if err := m.Inbound(epoch, fromServer, &p, &out); err != nil {
		t.Error(err)
	}
}
