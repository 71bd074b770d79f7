package peer_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// C-RX-01, W-ENC-02: what is not plainly an IPv6 packet of consistent length never takes the fast path, and is malformed or has
// trailers on the slow one.
func TestClientReceivesOnlyWellFormed(t *testing.T) {
	r, _ := clientRig(t)
	r.want(r.receive(peerMapped, bubble(other, own)))
	packet := data(other, own, 1)
	r.want(r.receive(peerMapped, packet), "deliver data 1 other>own")

	for name, bad := range map[string][]byte{
		"empty":           {},
		"header cut":      packet[:39],
		"payload cut":     packet[:len(packet)-1],
		"version 4":       append([]byte{0x45}, packet[1:]...),
		"unknown prefix":  append([]byte{0, 2}, packet...),
		"origin cut":      {0, 0, 1, 2, 3},
		"origin repeated": via(relay1, via(relay1, packet)),
	} {
		if v := incoming(r.m.Table(), bad, peerMapped, 0, 0); v != peer.Ask {
			t.Errorf("%s: action %v", name, v)
		}
		r.want(r.receive(peerMapped, bad), "drop 1 malformed")
	}
}

// C-RX-01, W-ENC-03: trailing bytes are trailers and not delivered; X-TRL-02: one of them may demand a drop; X-TRL-03: a
// malformed one ends their processing.
func TestClientTrailers(t *testing.T) {
	for name, c := range map[string]struct {
		trailers []byte
		drop     bool
	}{
		"nonce":                        {[]byte{1, 4, 1, 2, 3, 4}, false},
		"unknown, skip":                {[]byte{0x80, 0}, false},
		"unknown, drop":                {[]byte{0x40, 0}, true},
		"unknown, drop, last of class": {[]byte{0x7f, 1, 9}, true},
		"drop after known":             {[]byte{1, 4, 1, 2, 3, 4, 0x41, 0}, true},
		"malformed hides the drop":     {[]byte{5, 9, 0x40, 0}, false},
		"one byte":                     {[]byte{0x40}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := clientRig(t)
			got := r.receive(peerMapped, append(data(other, own, 1), c.trailers...))
			if c.drop {
				r.want(got, "drop 1 trailers")
				if r.m.Len() != 0 {
					t.Error("the dropped packet left an entry")
				}
				return
			}
			r.want(got, "deliver data 1 other>own")
			r.want(r.receive(peerMapped, append(data(other, own, 2), c.trailers...)), "deliver data 2 other>own")
		})
	}
}

// C-RX-02: the inner destination must be our address, all 128 bits of it (W-ADDR-06). C-RX-13: there is no local discovery.
func TestClientDestination(t *testing.T) {
	r, c := clientRig(t)
	r.want(r.receive(peerMapped, bubble(other, own)))
	twin := teredo.Address{Server: server.Addr(), Flags: 1, Mapped: ownMapped}.Addr()
	for _, dst := range []netip.Addr{twin, other, host, teredo.AllNodes(), teredo.ClientLinkLocal(false, netip.AddrPort{})} {
		r.want(r.receive(peerMapped, data(other, dst, 1)), "drop 1 destination")
		r.want(r.receive(server, via(relay1, bubble(relayLL, dst))), "drop 1 destination")
	}
	c.SetAddress(netip.Addr{})
	r.want(r.receive(peerMapped, data(other, own, 1)), "drop 1 not-qualified")
}

// C-RX-10, W-ADDR-06: a trusted entry speaks for one address and one endpoint.
func TestClientTrustedPath(t *testing.T) {
	r, _ := clientRig(t)
	r.want(r.receive(peerMapped, data(other, own, 1)), "deliver data 1 other>own")
	for i, from := range []string{"192.0.2.10:8193", "192.0.2.11:8192", "203.0.113.2:3544"} {
		r.want(r.receive(netip.MustParseAddrPort(from), data(other, own, uint32(i))), "drop 1 unknown-peer")
	}
	twin := teredo.Address{Server: peerServer.Addr(), Flags: 1, Mapped: peerMapped}.Addr()
	if r.m.Knows(twin) {
		t.Error("an address with the same mapping has the same entry")
	}
	r.want(r.send(data(own, other, 2)), "data 2 own>other to other")
	// Also when the path has not been heard of for long: it is the same endpoint.
	r.wait(100 * time.Second)
	r.want(r.receive(peerMapped, data(other, own, 3)), "deliver data 3 other>own")
	r.want(r.send(data(own, other, 4)), "data 4 own>other to other")
}

// C-RX-10: a packet on the old path of an entry that is not valid any more opens it again, and what waits for it leaves.
func TestClientOldPathOpensAgain(t *testing.T) {
	r, _ := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	r.wait(40 * time.Second)
	r.want(r.send(data(own, other, 1)), pair...)
	r.want(r.receive(peerMapped, data(other, own, 2)), "data 1 own>other to other", "deliver data 2 other>own")
	r.want(r.wait(10 * time.Second))
}

// C-RX-15: when the search for a path that ran out has failed, the old one is not trusted any more.
func TestClientOldPathForgotten(t *testing.T) {
	r, _ := clientRig(t)
	r.send(data(own, host, 1))
	r.receive(relay1, r.reply())
	r.wait(40 * time.Second)
	r.want(r.receive(relay1, data(host, own, 2)), "deliver data 2 host>own")
	r.wait(40 * time.Second)
	r.send(data(own, host, 3))
	r.wait(10 * time.Second)
	r.want(r.receive(relay1, data(host, own, 4)), "test own>host to server")
}

// C-RX-12: a packet straight from the mapping in its source makes a trusted entry; bubbles end there.
func TestClientDirectFromTeredo(t *testing.T) {
	for name, c := range map[string]struct {
		packet []byte
		want   []string
	}{
		"bubble": {bubble(other, own), nil},
		"data":   {data(other, own, 1), []string{"deliver data 1 other>own"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := clientRig(t)
			r.want(r.receive(peerMapped, c.packet), c.want...)
			if !r.m.Knows(other) {
				t.Fatal("no entry")
			}
			r.want(r.send(data(own, other, 9)), "data 9 own>other to other")
		})
		t.Run(name+" flushes the queue", func(t *testing.T) {
			r, _ := clientRig(t)
			r.want(r.send(data(own, other, 7)), "bubble own>other to other", "bubble own>other to peer-server")
			r.send(data(own, other, 8))
			r.want(r.receive(peerMapped, c.packet),
				append([]string{"data 7 own>other to other", "data 8 own>other to other"}, c.want...)...)
			r.want(r.wait(30 * time.Second))
		})
	}
}

// C-RX-14, C-RX-15: a Teredo source whose mapping is not where the packet came from is not believed.
func TestClientMismatchedTeredo(t *testing.T) {
	r, _ := clientRig(t)
	r.want(r.receive(relay1, data(other, own, 1)), "drop 1 unknown-peer")
	r.want(r.receive(relay1, bubble(other, own)), "drop 1 unknown-peer")
	if r.m.Len() != 0 {
		t.Error("it left an entry")
	}
	// An Echo Reply from elsewhere does not move a Teredo peer either.
	r.receive(peerMapped, bubble(other, own))
	r.wait(21 * time.Second)
	r.want(r.send(data(own, other, 2)), "data 2 own>other to other", "test own>other to other")
	r.want(r.receive(relay1, r.reply()), "drop 1 unknown-peer")
	r.want(r.receive(peerMapped, r.reply()))
}

// SEC-V4-03: nothing comes from an address that nothing may be sent to. SEC-LOOP: nor from our own mapping.
func TestClientOuterSource(t *testing.T) {
	for from, why := range map[string]string{
		"10.0.0.1:4000": "not-global", "127.0.0.1:4000": "not-global", "224.0.0.253:3544": "not-global",
		"255.255.255.255:1": "not-global", "198.51.100.9:0": "not-global", "192.0.2.1:4096": "loop",
	} {
		r, _ := clientRig(t)
		at := netip.MustParseAddrPort(from)
		src := teredo.Address{Server: peerServer.Addr(), Mapped: at}.Addr()
		r.want(r.receive(at, bubble(src, own)), "drop 1 "+why)
		r.want(r.receive(at, data(host, own, 1)), "drop 1 "+why)
		if r.m.Len() != 0 {
			t.Errorf("%s left an entry", from)
		}
	}
}

// C-RX-04, A-43: ICMPv6 of a native host that came through the server starts a test; the packet is not delivered before.
func TestClientICMPv6ThroughServer(t *testing.T) {
	echo := teredo.AppendEchoRequest(nil, host, own, 1, 1, []byte("ping"))
	r, _ := clientRig(t)
	r.want(r.receive(server, via(relay1, echo)), "test own>host to server")
	r.want(r.receive(relay1, r.reply()), "deliver echo 128 host>own")
	r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1")

	for name, c := range map[string]struct {
		payload []byte
		want    string
	}{
		"origin private":           {via(netip.MustParseAddrPort("10.1.1.1:1"), echo), "drop 1 not-global"},
		"origin multicast":         {via(netip.MustParseAddrPort("224.0.0.1:1"), echo), "drop 1 not-global"},
		"origin port 0":            {via(netip.MustParseAddrPort("198.51.100.7:0"), echo), "drop 1 not-global"},
		"origin is our own":        {via(ownMapped, echo), "drop 1 loop"},
		"data":                     {via(relay1, data(host, own, 1)), "drop 1 not-allowed"},
		"of a Teredo source":       {via(peerMapped, teredo.AppendEchoRequest(nil, other, own, 1, 1, nil)), "drop 1 not-allowed"},
		"of a link-local source":   {via(relay1, teredo.AppendEchoRequest(nil, relayLL, own, 1, 1, nil)), "drop 1 not-allowed"},
		"of an unspecified source": {via(relay1, teredo.AppendEchoRequest(nil, netip.IPv6Unspecified(), own, 1, 1, nil)), "drop 1 not-allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := clientRig(t)
			r.want(r.receive(server, c.payload), c.want)
			if r.m.Len() != 0 {
				t.Error("it left an entry")
			}
		})
	}
}

// C-RX-05: a relay's bubble is answered to where it came from, with the addresses swapped; each of them, whatever is
// known about anybody, because the relay waits for it.
func TestClientAnswersRelay(t *testing.T) {
	r, _ := clientRig(t)
	for range 10 {
		r.want(r.receive(server, via(relay1, bubble(relayLL, own))), "bubble own>relay to relay1")
	}
	if r.m.Len() != 0 {
		t.Error("the relay's own address has an entry")
	}
	r.want(r.receive(server, via(relay1, bubble(host, own))), "bubble own>host to relay1")
	r.want(r.receive(server, bubble(relayLL, own)), "drop 1 not-global")
	r.want(r.receive(server, via(netip.MustParseAddrPort("192.168.1.1:3545"), bubble(relayLL, own))), "drop 1 not-global")
	r.want(r.receive(server, via(netip.MustParseAddrPort("198.51.100.7:0"), bubble(relayLL, own))), "drop 1 not-global")
	r.want(r.receive(server, via(ownMapped, bubble(relayLL, own))), "drop 1 loop")
	r.want(r.receive(relay1, via(relay1, bubble(relayLL, own))), "drop 1 unknown-peer")
}

// C-RX-06: an indirect bubble is answered by a direct one, and by an indirect one while there is no path.
func TestClientAnswersIndirectBubble(t *testing.T) {
	r, _ := clientRig(t)
	r.want(r.receive(server, via(peerServer, bubble(other, own))), "bubble own>other to other", "bubble own>other to peer-server")
	r.want(r.receive(server, via(peerServer, bubble(other, own)))) // C-BUB-03
	r.receive(peerMapped, bubble(other, own))
	r.wait(2 * time.Second)
	r.want(r.receive(server, via(peerServer, bubble(other, own))), "bubble own>other to other")
}

// C-TX-08 binds answers too: an indirect bubble does not make us send to a non-global address, nor to ourselves.
func TestClientAnswersNobodyNonGlobal(t *testing.T) {
	for name, c := range map[string]struct {
		from teredo.Address
		why  string
	}{
		"mapped private":   {teredo.Address{Server: peerServer.Addr(), Mapped: netip.MustParseAddrPort("10.1.2.3:4000")}, "not-global"},
		"mapped broadcast": {teredo.Address{Server: peerServer.Addr(), Mapped: netip.MustParseAddrPort("255.255.255.255:4")}, "not-global"},
		"mapped port 0":    {teredo.Address{Server: peerServer.Addr(), Mapped: netip.MustParseAddrPort("192.0.2.10:0")}, "not-global"},
		"server loopback":  {teredo.Address{Server: netip.MustParseAddr("127.0.0.1"), Mapped: peerMapped}, "not-global"},
		"server multicast": {teredo.Address{Server: netip.MustParseAddr("224.0.0.253"), Mapped: peerMapped}, "not-global"},
		"our own mapping":  {teredo.Address{Server: peerServer.Addr(), Mapped: ownMapped}, "loop"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := clientRig(t)
			r.want(r.receive(server, via(peerServer, bubble(c.from.Addr(), own))), "drop 1 "+c.why)
			r.want(r.send(data(own, c.from.Addr(), 1)), "drop 1 "+c.why)
			if r.m.Len() != 0 {
				t.Error("it left an entry")
			}
		})
	}
}

// C-RX-11, C-RX-17, C-DCT-05: only the Echo Reply of the tested address with nonce and identifier, and not one that the
// server has passed on, passes the test. It is not delivered.
func TestClientEchoReply(t *testing.T) {
	r, _ := clientRig(t)
	r.want(r.send(data(own, host, 1)), "test own>host to server")
	good := r.reply()
	echo, err := teredo.ParseEcho(good)
	if err != nil {
		t.Fatal(err)
	}
	reply := func(src netip.Addr, id uint16, nonce []byte) []byte {
		return teredo.AppendEchoReply(nil, src, teredo.AppendEchoRequest(nil, own, src, id, 1, nonce))
	}
	wrong := bytes.Clone(echo.Data)
	wrong[0] ^= 1
	broken := bytes.Clone(good)
	broken[42] ^= 1

	for _, c := range []struct {
		name    string
		from    netip.AddrPort
		payload []byte
		want    []string
	}{
		{"nonce wrong", relay1, reply(host, echo.ID, wrong), []string{"drop 1 unknown-peer"}},
		{"nonce cut", relay1, reply(host, echo.ID, echo.Data[:7]), nil}, // held as any packet of an untested source
		{"identifier wrong", relay1, reply(host, echo.ID+1, echo.Data), nil},
		{"checksum wrong", relay1, broken, []string{"drop 1 unknown-peer"}},
		{"another source", relay1, reply(native(5), echo.ID, echo.Data), []string{"drop 1 unknown-peer"}},
		{"from a private address", netip.MustParseAddrPort("10.0.0.1:3545"), good, []string{"drop 1 not-global"}},
		{"through the server", server, via(relay1, good), nil}, // held
		{"good", relay1, good, []string{"data 1 own>host to relay1", "deliver echo 129 host>own", "deliver echo 129 host>own", "deliver echo 129 host>own"}},
		{"repeated", relay1, good, nil},
		{"repeated elsewhere", relay2, good, []string{"drop 1 unknown-peer"}},
	} {
		if diff := cmp.Diff(c.want, r.receive(c.from, c.payload)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// C-DCT-05, A-43, A-51: a server that is a relay, too, relays from server:3544. The bubble before it names the server itself
// as its origin. The test proves such a path like any other, and keeps it.
func TestClientServerRelays(t *testing.T) {
	r, _ := clientRig(t)
	r.want(r.send(data(own, host, 1)), "test own>host to server")
	r.want(r.receive(server, via(server, bubble(teredo.ServerLinkLocal(server.Addr()), own))), "bubble own>server to server")
	r.want(r.receive(server, data(host, own, 2)), "drop 1 unknown-peer")
	r.want(r.receive(server, r.reply()), "data 1 own>host to server")
	r.want(r.receive(server, data(host, own, 3)), "deliver data 3 host>own")
	r.want(r.send(data(own, host, 4)), "data 4 own>host to server")
	for range 3 {
		r.wait(25 * time.Second)
		r.want(r.send(data(own, host, 5)), "data 5 own>host to server", "test own>host to server")
		r.want(r.receive(server, r.reply()))
	}
	r.wait(40 * time.Second)
	r.want(r.receive(server, data(host, own, 6)), "deliver data 6 host>own")
	r.want(r.send(data(own, host, 7)), "data 7 own>host to server")

	// C-DCT-06: another relay takes over when it passes a test, and then the server's packets wait for theirs.
	r.want(r.receive(relay1, data(host, own, 8)), "test own>host to server")
	r.want(r.receive(relay1, r.reply()), "deliver data 8 host>own")
	r.want(r.receive(server, data(host, own, 9)), "test own>host to server", "drop 1 unknown-peer")
	r.want(r.send(data(own, host, 10)), "data 10 own>host to relay1")
	r.want(r.receive(server, r.reply()))
	r.want(r.receive(server, data(host, own, 11)), "deliver data 11 host>own")
}

// the first packet of a native host that the server relays is dropped, and tested; the next ones get in. One test, and
// no more of them, as the packet may be forged.
func TestClientServerRelaysFirst(t *testing.T) {
	r, _ := clientRig(t)
	r.want(r.receive(server, data(host, own, 1)), "test own>host to server", "drop 1 unknown-peer")
	r.want(r.receive(server, data(host, own, 2)), "drop 1 unknown-peer")
	r.want(r.receive(server, r.reply()))
	r.want(r.receive(server, data(host, own, 3)), "deliver data 3 host>own")

	r, _ = clientRig(t)
	r.want(r.receive(server, data(host, own, 1)), "test own>host to server", "drop 1 unknown-peer")
	late := r.reply()
	r.want(r.wait(time.Minute))
	r.want(r.receive(server, late), "drop 1 unknown-peer")
	r.want(r.wait(time.Minute))
}

// nothing is believed that comes from server:3544 without an origin indication, but what has a path there.
func TestClientServerForged(t *testing.T) {
	untested := []string{"test own>" + native(5).String() + " to server", "drop 1 unknown-peer"}
	for name, c := range map[string]struct {
		payload []byte
		want    []string
	}{
		"data of another host":    {data(native(5), own, 1), untested},
		"error of another host":   {teredo.AppendUnreachable(nil, native(5), 0, data(own, host, 1)), untested},
		"echo of another host":    {teredo.AppendEchoRequest(nil, native(5), own, 1, 1, nil), untested},
		"with an origin":          {via(relay1, data(host, own, 1)), []string{"drop 1 not-allowed"}},
		"bubble of the host":      {bubble(host, own), []string{"drop 1 not-global"}},
		"bubble of another host":  {bubble(native(5), own), []string{"drop 1 not-global"}},
		"bubble of a link-local":  {bubble(relayLL, own), []string{"drop 1 not-global"}},
		"data of a client":        {data(other, own, 1), []string{"drop 1 not-global"}},
		"data of ourselves":       {data(own, own, 1), []string{"drop 1 not-global"}},
		"echo of a link-local":    {teredo.AppendEchoRequest(nil, relayLL, own, 1, 1, nil), []string{"drop 1 not-global"}},
		"echo of the unspecified": {teredo.AppendEchoRequest(nil, netip.IPv6Unspecified(), own, 1, 1, nil), []string{"drop 1 not-global"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := clientRig(t)
			r.send(data(own, host, 1))
			r.receive(server, r.reply())
			r.want(r.receive(server, c.payload), c.want...)
			r.want(r.wait(20 * time.Second))
			r.want(r.send(data(own, host, 2)), "data 2 own>host to server", "test own>host to server")
		})
	}
}

// C-RX-17: an answer that comes after its test was given up starts no new test, which would go on for ever.
func TestClientLateEchoReply(t *testing.T) {
	r, _ := clientRig(t)
	r.send(data(own, host, 1))
	late := r.reply()
	r.wait(9 * time.Second)
	for range 4 {
		r.want(r.receive(relay1, late), "drop 1 unknown-peer")
	}
	r.want(r.wait(time.Minute))
	// Other Echo Replies are packets as any: the identifier may be that of a ping of this host.
	echo, _ := teredo.ParseEcho(late)
	ping := teredo.AppendEchoReply(nil, host, teredo.AppendEchoRequest(nil, own, host, echo.ID, 1, make([]byte, 56)))
	r.want(r.receive(relay1, ping), "test own>host to server")
	r.want(r.receive(relay1, r.reply()), "deliver echo 129 host>own")
	r.want(r.receive(relay1, ping), "deliver echo 129 host>own")
}

// C-RX-15, C-DCT-07: a packet of an unknown native source waits for the test of that source; it is delivered when the answer comes
// from where the packet came from.
func TestClientNativeSource(t *testing.T) {
	t.Run("passed", func(t *testing.T) {
		r, _ := clientRig(t)
		r.want(r.receive(relay1, data(host, own, 1)), "test own>host to server")
		r.want(r.receive(relay1, data(host, own, 2)))
		r.want(r.receive(relay1, r.reply()), "deliver data 1 host>own", "deliver data 2 host>own")
		r.want(r.receive(relay1, data(host, own, 3)), "deliver data 3 host>own")
		r.want(r.send(data(own, host, 4)), "data 4 own>host to relay1")
	})
	t.Run("passed elsewhere", func(t *testing.T) {
		r, _ := clientRig(t)
		r.want(r.receive(relay2, data(host, own, 1)), "test own>host to server")
		r.want(r.receive(relay1, r.reply()), "test own>host to relay2") // see TestSeveralRelays
		r.want(r.wait(time.Minute), "2s drop 1 untested")
	})
	t.Run("failed", func(t *testing.T) {
		r, _ := clientRig(t)
		r.want(r.receive(relay1, data(host, own, 1)), "test own>host to server")
		r.want(r.wait(time.Minute),
			"2s test own>host to server", "4s test own>host to server", "6s test own>host to server", "8s drop 1 untested")
	})
	t.Run("bubble", func(t *testing.T) {
		r, _ := clientRig(t)
		r.want(r.receive(relay1, bubble(host, own)), "drop 1 unknown-peer")
	})
	t.Run("address that no packet may have", func(t *testing.T) {
		for _, src := range []netip.Addr{relayLL, teredo.AllNodes(), netip.IPv6Unspecified(), netip.IPv6Loopback()} {
			r, _ := clientRig(t)
			r.want(r.receive(relay1, data(src, own, 1)), "drop 1 unknown-peer")
		}
	})
}

// C-DCT-06: packets of a trusted native host that come through another relay wait for a new test, and do not move the
// path; the test that passes there does.
func TestClientRelayChanges(t *testing.T) {
	r, _ := clientRig(t)
	r.send(data(own, host, 1))
	r.receive(relay1, r.reply())
	first := binary.BigEndian.Uint64(r.test[48:])

	r.wait(time.Second)
	r.want(r.receive(relay2, data(host, own, 2)), "test own>host to server")
	if nonce := binary.BigEndian.Uint64(r.test[48:]); nonce == first {
		t.Error("C-DCT-03: two tests with one nonce")
	}
	r.want(r.send(data(own, host, 3)), "data 3 own>host to relay1")
	r.want(r.wait(8*time.Second), "2s test own>host to server", "4s test own>host to server", "6s test own>host to server",
		"8s drop 1 untested")
	r.want(r.send(data(own, host, 4)), "data 4 own>host to relay1")

	r.want(r.receive(relay2, data(host, own, 5)), "test own>host to server")
	r.want(r.receive(relay2, r.reply()), "deliver data 5 host>own")
	r.want(r.send(data(own, host, 6)), "data 6 own>host to relay2")
}

// C-RX-12, C-TX-08: a peer that made itself known from a global address has a path, but its server is still put to the
// test before a bubble goes there.
func TestClientPeerWithNonGlobalServer(t *testing.T) {
	r, _ := clientRig(t)
	odd := teredo.Address{Server: netip.MustParseAddr("127.0.0.1"), Mapped: peerMapped}.Addr()
	r.want(r.receive(peerMapped, data(odd, own, 1)), "deliver data 1 "+odd.String()+">own")
	r.wait(27 * time.Second)
	r.want(r.send(data(own, odd, 2)), "data 2 own>"+odd.String()+" to other", "test own>"+odd.String()+" to other")
	r.want(r.wait(2500*time.Millisecond), "2s test own>"+odd.String()+" to other")
	r.want(r.send(data(own, odd, 3)), "data 3 own>"+odd.String()+" to other") // 29.5 s
	r.wait(time.Second)
	r.want(r.send(data(own, odd, 4)), "drop 1 not-global")
	r.want(r.wait(5 * time.Minute))
}
