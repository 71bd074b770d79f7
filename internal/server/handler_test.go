package server

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// The addresses of the tests are those reserved for documentation, which labFilter permits.
var (
	primaryAddr   = netip.MustParseAddr("192.0.2.1")
	secondaryAddr = netip.MustParseAddr("192.0.2.2")
	otherServer   = netip.MustParseAddr("198.51.100.118")

	mappedA = netip.MustParseAddrPort("203.0.113.1:4096")
	mappedB = netip.MustParseAddrPort("203.0.113.129:8192")
	relay   = netip.MustParseAddrPort("198.51.100.1:3545")

	clientA    = clientOf(primaryAddr, mappedA)
	clientB    = clientOf(primaryAddr, mappedB)
	foreignB   = clientOf(otherServer, mappedB) // client B, had it qualified with another server
	nativeHost = netip.MustParseAddr("2001:db8:6::1")

	solicitor     = teredo.ClientLinkLocal(false, netip.AddrPort{})
	coneSolicitor = teredo.ClientLinkLocal(true, netip.AddrPort{})
	serverLL      = teredo.ServerLinkLocal(primaryAddr)
	relayLL       = netip.MustParseAddr("fe80::1234:5678:9abc:def0")
)

func labFilter() teredo.Filter {
	return teredo.Filter{
		Permit: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.0/24"),
			netip.MustParsePrefix("198.51.100.0/24"),
			netip.MustParsePrefix("203.0.113.0/24"),
		},
		Broadcasts: []netip.Addr{netip.MustParseAddr("192.0.2.255")},
	}
}

func labConfig() Config {
	return Config{Primary: primaryAddr, Secondary: secondaryAddr, Filter: labFilter()}
}

func newHandler(t testing.TB, cfg Config) *Handler {
	t.Helper()
	h, err := NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func clientOf(server netip.Addr, mapped netip.AddrPort) netip.Addr {
	return teredo.Address{Server: server, Flags: 0x2c5a, Mapped: mapped}.Addr()
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func rs(src netip.Addr) []byte { return teredo.AppendRouterSolicitation(nil, src) }

func bubble(src, dst netip.Addr) []byte { return teredo.AppendBubble(nil, src, dst, 255) }

func ping(src, dst netip.Addr) []byte {
	return teredo.AppendEchoRequest(nil, src, dst, 7, 9, []byte("0123456789abcdef"))
}

// pong is an Echo Reply: src answers a ping from dst.
func pong(src, dst netip.Addr) []byte { return teredo.AppendEchoReply(nil, src, ping(dst, src)) }

func origin(a netip.AddrPort) []byte { return teredo.AppendOrigin(nil, a) }

func nonceAuth() []byte {
	return teredo.AppendAuth(nil, teredo.Auth{Nonce: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}})
}

// with returns a copy of the packet in which one byte has another value.
func with(packet []byte, offset int, value byte) []byte {
	packet = slices.Clone(packet)
	packet[offset] = value
	return packet
}

const hopLimitAt = 7 // in the IPv6 header

// udpPacket is an IPv6 packet that a server has no business with.
func udpPacket(src, dst netip.Addr) []byte {
	const nextUDP = 17
	p := with(ping(src, dst), 6, nextUDP)
	return p
}

// oversized is an Echo Request of MTU+1 bytes.
func oversized(src, dst netip.Addr) []byte {
	return teredo.AppendEchoRequest(nil, src, dst, 1, 1, make([]byte, teredo.MTU+1-teredo.HeaderLen-8))
}

type input struct {
	local   int
	from    netip.AddrPort
	payload []byte
}

func handle(h *Handler, in input) Verdict {
	return h.Handle(in.local, in.from, in.payload, make([]byte, 0, MaxOutput))
}

// All that the server must not carry (W-ENC-02, SEC-V4-03, SEC-SPOOF-01) nor answer (S-RS-05).
func TestRefusals(t *testing.T) {
	two := labConfig()
	one := Config{Primary: primaryAddr, Filter: labFilter()}
	private := netip.MustParseAddrPort("10.1.2.3:4096")
	self := netip.AddrPortFrom(primaryAddr, 5000)
	tests := []struct {
		name string
		cfg  Config
		in   input
		kind Kind
		want drop.Reason
	}{
		{"S-RX-01 empty", two, input{from: mappedA}, Other, drop.Malformed},
		{"S-RX-01 cut short", two, input{from: mappedA, payload: rs(solicitor)[:47]}, Other, drop.Malformed},
		{"S-RX-01 IPv4 inside", two, input{from: mappedA, payload: with(rs(solicitor), 0, 0x45)}, Other, drop.Malformed},
		{"W-ENC-01 origin before authentication", two,
			input{from: mappedA, payload: join(origin(mappedA), nonceAuth(), rs(solicitor))}, Other, drop.Malformed},
		{"W-ENC-04 more bytes than trailers need", two,
			input{from: mappedA, payload: join(bubble(clientA, clientB), make([]byte, teredo.MaxTrailers+1))}, Bubble, drop.Trailers},

		{"S-RX-02 UDP inside", two, input{from: mappedA, payload: udpPacket(clientA, nativeHost)}, Other, drop.NotAllowed},
		{"A-38 other ICMPv6", two, input{from: mappedA, payload: with(ping(clientA, nativeHost), 40, 1)}, Other, drop.NotAllowed},
		{"A-38 router advertisement", two, input{from: relay,
			payload: teredo.AppendRouterAdvertisement(nil, otherServer, clientB)}, Other, drop.NotAllowed},
		{"SEC-SR-01 routing header", two, input{from: mappedA, payload: with(ping(clientA, nativeHost), 6, 43)}, Other, drop.NotAllowed},
		{"S-RX-02 bubble with a payload", two, input{from: mappedA, payload: with(ping(clientA, clientB), 6, 59)}, Other, drop.NotAllowed},
		{"K-15 larger than the link", two, input{from: mappedA, payload: oversized(clientA, nativeHost)}, Echo, drop.NotAllowed},

		{"S-RX-03 private outer source", two, input{from: private, payload: rs(solicitor)}, Solicitation, drop.NotGlobal},
		{"S-RX-03 broadcast outer source", two,
			input{from: netip.MustParseAddrPort("192.0.2.255:4096"), payload: rs(solicitor)}, Solicitation, drop.NotGlobal},
		{"S-RX-03 port 0", two, input{from: netip.AddrPortFrom(mappedA.Addr(), 0), payload: rs(solicitor)}, Solicitation, drop.NotGlobal},
		{"S-RX-03 no source", two, input{payload: rs(solicitor)}, Solicitation, drop.NotGlobal},
		{"S-FWD-08 from our own endpoint", two,
			input{from: netip.AddrPortFrom(secondaryAddr, 3544), payload: bubble(relayLL, clientB)}, Bubble, drop.Loop},

		{"W-RA-05 hop limit", two, input{from: mappedA, payload: with(rs(solicitor), hopLimitAt, 254)}, Solicitation, drop.Solicitation},
		{"W-RA-05 checksum", two, input{from: mappedA, payload: with(rs(solicitor), 42, 0)}, Solicitation, drop.Solicitation},
		{"S-RX-04 global source", two, input{from: mappedA, payload: rs(clientA)}, Solicitation, drop.Solicitation},
		{"S-FWD-08 solicitation from our address", two, input{from: self, payload: rs(solicitor)}, Solicitation, drop.Loop},
		{"S-RS-03 no second address", one, input{from: mappedA, payload: rs(coneSolicitor)}, Solicitation, drop.NoSecondAddress},

		{"S-RX-05 other address", two, input{from: relay, payload: bubble(clientA, clientB)}, Bubble, drop.Source},
		{"S-RX-05 other port", two,
			input{from: netip.AddrPortFrom(mappedA.Addr(), 4097), payload: ping(clientA, nativeHost)}, Echo, drop.Source},
		{"S-RX-06 not a client of ours", two, input{from: relay, payload: bubble(nativeHost, foreignB)}, Bubble, drop.Destination},
		{"S-RX-06 native to native", two, input{from: relay, payload: ping(nativeHost, nativeHost)}, Echo, drop.Destination},
		{"S-RX-07 echo from link-local", two, input{from: relay, payload: ping(relayLL, clientB)}, Echo, drop.Source},
		{"S-RX-07 our own link-local", two, input{from: relay, payload: bubble(serverLL, clientB)}, Bubble, drop.Source},
		{"S-RX-07 multicast source", two, input{from: relay, payload: bubble(teredo.AllNodes(), clientB)}, Bubble, drop.Source},
		{"S-RX-07 unspecified source", two, input{from: relay, payload: bubble(netip.IPv6Unspecified(), clientB)}, Bubble, drop.Source},
		{"S-RX-07 loopback source", two, input{from: relay, payload: bubble(netip.IPv6Loopback(), clientB)}, Bubble, drop.Source},
		{"S-RX-07 IPv4-mapped source", two,
			input{from: relay, payload: bubble(netip.MustParseAddr("::ffff:169.254.1.1"), clientB)}, Bubble, drop.Source},
		{"SEC-LOOP 6to4 source of ours", two,
			input{from: relay, payload: ping(netip.MustParseAddr("2002:c000:201::1"), clientB)}, Echo, drop.Source},
		{"S-RX-07 unique local source", two,
			input{from: relay, payload: ping(netip.MustParseAddr("fd00:1::1"), clientB)}, Echo, drop.Source},
		{"S-RX-07 echo to all routers from link-local", two, input{from: mappedA, payload: ping(solicitor, teredo.AllRouters())}, Echo, drop.Source},

		{"S-FWD-01 bubble to the server", two, input{from: mappedA, payload: bubble(clientA, serverLL)}, Bubble, drop.Destination},
		{"S-FWD-01 echo reply to the server", two, input{from: mappedA, payload: pong(clientA, serverLL)}, Echo, drop.Destination},
		{"S-FWD-01 echo with a bad checksum", two, input{from: mappedA, payload: with(ping(clientA, serverLL), 42, 0)}, Echo, drop.Destination},
		{"S-FWD-08 echo from our address", two, input{from: self, payload: ping(clientOf(primaryAddr, self), serverLL)}, Echo, drop.Loop},

		{"S-FWD-04 private destination", two, input{from: mappedA, payload: bubble(clientA, clientOf(primaryAddr, private))}, Bubble, drop.NotGlobal},
		{"S-FWD-04 destination port 0", two,
			input{from: mappedA, payload: bubble(clientA, clientOf(primaryAddr, netip.AddrPortFrom(mappedB.Addr(), 0)))}, Bubble, drop.NotGlobal},
		{"S-FWD-08 to our primary", two,
			input{from: mappedA, payload: bubble(clientA, clientOf(primaryAddr, netip.AddrPortFrom(primaryAddr, 3544)))}, Bubble, drop.Loop},
		{"S-FWD-08 to our secondary, other port", two,
			input{from: mappedA, payload: bubble(clientA, clientOf(otherServer, netip.AddrPortFrom(secondaryAddr, 99)))}, Bubble, drop.Loop},

		{"S-FWD-02 link-local destination", two, input{from: mappedA, payload: ping(clientA, relayLL)}, Echo, drop.Scope},
		{"S-FWD-02 multicast destination", two, input{from: mappedA, payload: ping(clientA, netip.MustParseAddr("ff0e::1"))}, Echo, drop.Scope},
		{"S-FWD-02 unspecified destination", two, input{from: mappedA, payload: ping(clientA, netip.IPv6Unspecified())}, Echo, drop.Scope},
		{"S-FWD-02 loopback destination", two, input{from: mappedA, payload: ping(clientA, netip.IPv6Loopback())}, Echo, drop.Scope},
		{"S-FWD-02 IPv4-mapped destination", two, input{from: mappedA, payload: ping(clientA, netip.MustParseAddr("::ffff:8.8.8.8"))}, Echo, drop.Scope},
		{"S-FWD-02 site-local destination", two, input{from: mappedA, payload: ping(clientA, netip.MustParseAddr("fec0::1"))}, Echo, drop.Scope},
		{"S-FWD-02 unique local destination", two, input{from: mappedA, payload: ping(clientA, netip.MustParseAddr("fd00:1::1"))}, Echo, drop.Scope},
		{"S-FWD-02 destination for benchmarks", two, input{from: mappedA, payload: ping(clientA, netip.MustParseAddr("2001:2::1"))}, Echo, drop.Scope},
		{"SEC-LOOP 6to4 of ours", two, input{from: mappedA, payload: ping(clientA, netip.MustParseAddr("2002:c000:202::1"))}, Echo, drop.Scope},
		{"SEC-LOOP 6to4 of another", two, input{from: mappedA, payload: ping(clientA, netip.MustParseAddr("2002:808:808::1"))}, Echo, drop.Scope},
		{"SEC-LOOP NAT64", two, input{from: mappedA, payload: ping(clientA, netip.MustParseAddr("64:ff9b::8.8.8.8"))}, Echo, drop.Scope},
		{"SEC-LOOP ISATAP of ours", two, input{from: mappedA, payload: ping(clientA, netip.MustParseAddr("2001:db8::200:5efe:192.0.2.1"))}, Echo, drop.Scope},
		{"SEC-LOOP ISATAP of another", two, input{from: mappedA, payload: ping(clientA, netip.MustParseAddr("2001:db8::5efe:10.0.0.1"))}, Echo, drop.Scope},
		{"A-37 hop limit 1", two, input{from: mappedA, payload: with(ping(clientA, nativeHost), hopLimitAt, 1)}, Echo, drop.HopLimit},
		{"A-37 hop limit 0", two, input{from: mappedA, payload: with(ping(clientA, nativeHost), hopLimitAt, 0)}, Echo, drop.HopLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := handle(newHandler(t, tt.cfg), tt.in)
			if v.Action != Drop || v.Reason != tt.want || v.Kind != tt.kind {
				t.Errorf("action %v, kind %v, reason %v; want a drop, kind %v, reason %v", v.Action, v.Kind, v.Reason, tt.kind, tt.want)
			}
			if v.Payload != nil || v.To.IsValid() {
				t.Errorf("a dropped datagram has payload %x to %v", v.Payload, v.To)
			}
		})
	}
}

// S-FWD-08: behind a 1:1 NAT both the bound and the public addresses are our own.
func TestOwnAddressesBehindNAT(t *testing.T) {
	cfg := labConfig()
	cfg.Primary, cfg.Secondary = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	cfg.Public, cfg.Public2 = primaryAddr, secondaryAddr
	cfg.Filter.Permit = append(cfg.Filter.Permit, netip.MustParsePrefix("10.0.0.0/8"))
	h := newHandler(t, cfg)
	for _, own := range []netip.Addr{cfg.Primary, cfg.Secondary, cfg.Public, cfg.Public2} {
		dst := clientOf(primaryAddr, netip.AddrPortFrom(own, 4000))
		if v := handle(h, input{from: mappedA, payload: bubble(clientA, dst)}); v.Reason != drop.Loop {
			t.Errorf("toward %v: action %v, reason %v; want reason %v", own, v.Action, v.Reason, drop.Loop)
		}
	}
}

// S-GEN-01, ST-S-01: nothing that was handled before changes what happens next.
func TestHandlerKeepsNoState(t *testing.T) {
	h := newHandler(t, labConfig())
	in := input{from: mappedA, payload: bubble(clientA, clientB)}
	before := handle(h, in)
	handle(h, input{from: relay, payload: bubble(nativeHost, clientA)})
	handle(h, input{from: mappedB, payload: join(nonceAuth(), rs(coneSolicitor))})
	after := handle(h, in)
	if before.To != after.To || before.Local != after.Local || !bytes.Equal(before.Payload, after.Payload) {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// S-REL-01 allows for a relay on the same host: its bubbles come from our address, but not our port.
func TestRelayOnTheSameAddress(t *testing.T) {
	from := netip.AddrPortFrom(primaryAddr, 3545)
	v := handle(newHandler(t, labConfig()), input{from: from, payload: bubble(relayLL, clientB)})
	want := join(origin(from), bubble(relayLL, clientB))
	if v.Action != Send || v.To != mappedB || !bytes.Equal(v.Payload, want) {
		t.Errorf("got %+v, want %x to %v", v, want, mappedB)
	}
}

// setECN returns a copy of the IPv6 packet with this ECN field.
func setECN(packet []byte, ecn byte) []byte {
	packet = slices.Clone(packet)
	word := binary.BigEndian.Uint16(packet)
	binary.BigEndian.PutUint16(packet, word&^0x30|uint16(ecn)<<4)
	return packet
}
