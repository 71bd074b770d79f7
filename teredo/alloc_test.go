package teredo_test

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// Nothing on a packet path may allocate.
func TestNoAllocations(t *testing.T) {
	var (
		p        teredo.Packet
		filter   = teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Broadcasts: []netip.Addr{netip.MustParseAddr("192.0.2.255")}}
		buffer   = make([]byte, 0, 2048)
		alts     = make([]netip.AddrPort, 0, 4)
		secured  = vector(t, "ra-auth-origin")
		bubble   = vector(t, "bubble-nonce")
		rs       = vector(t, "rs")
		ra       = vector(t, "ra")
		echo     = teredo.AppendEchoRequest(nil, clientA, native, 1, 2, make([]byte, 18))
		data     = ipv6Packet(clientA, native, 17, 64, make([]byte, 1200))
		trailers = teredo.AppendAlternateAddressTrailer(bubble[40:], alternate1, alternate2)
		mapped   = netip.MustParseAddrPort("192.0.2.1:4096")
		natives  = teredo.NativePrefixes{}
		out      teredo.Outbox
		sink     bool
	)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	prefix, err := teredo.NewNativePrefix(teredo.ServerOf(clientA), netip.MustParsePrefix("2001:db8:c::/64"))
	must(err)
	natives = append(natives, prefix)
	for name, f := range map[string]func(){
		"Parse with encapsulations": func() { must(p.Parse(secured)) },
		"Parse with trailer":        func() { must(p.Parse(bubble)) },
		"Parse data":                func() { must(p.Parse(data)) },
		"Parse malformed":           func() { sink = p.Parse(data[:600]) == nil },
		"CheckIPv6":                 func() { must(teredo.CheckIPv6(data)) },
		"addresses": func() {
			src := teredo.Source(data)
			a, ok := teredo.ParseAddress(src)
			sink = ok && a.Addr() == src && teredo.Mapped(src).IsValid() && teredo.ServerOf(src).IsValid() && teredo.ConeBit(src)
			sink = teredo.IsTeredo(teredo.ClientLinkLocal(true, mapped)) || teredo.IsTeredo(teredo.ServerLinkLocal(mapped.Addr()))
		},
		"native prefixes": func() {
			natives.Outward(data)
			sink = natives.Inward(data) || natives.Contains(native)
		},
		"Global": func() { sink = filter.Global(mapped.Addr()) },
		"ParseEcho": func() {
			_, err := teredo.ParseEcho(echo)
			must(err)
		},
		"ParseRouterSolicitation": func() {
			_, err := teredo.ParseRouterSolicitation(rs)
			must(err)
		},
		"ParseRouterAdvertisement": func() {
			_, err := teredo.ParseRouterAdvertisement(ra)
			must(err)
		},
		"trailers": func() {
			for rest := trailers; ; {
				tr, next, ok := teredo.NextTrailer(rest)
				if !ok {
					break
				}
				_, sink = tr.Nonce()
				_, sink = tr.RandomPort()
				_, sink = tr.NeighborDiscovery()
				_, sink = tr.AlternateAddresses(alts)
				rest = next
			}
		},
		"append": func() {
			b := teredo.AppendAuth(buffer, teredo.Auth{ClientID: rs, Value: rs})
			b = teredo.AppendOrigin(b, mapped)
			b = teredo.AppendBubble(b, clientA, clientB, 255)
			b = teredo.AppendRouterSolicitation(b, clientLL)
			b = teredo.AppendRouterAdvertisement(b, mapped.Addr(), clientLL)
			b = teredo.AppendEchoRequest(b, clientA, native, 1, 2, rs)
			b = teredo.AppendEchoReply(b, native, echo)
			b = teredo.AppendUnreachable(b, native, 0, data)
			b = teredo.AppendNonceTrailer(b, [4]byte{1})
			b = teredo.AppendRandomPortTrailer(b, 1)
			b = teredo.AppendNeighborDiscoveryTrailer(b, 0)
			b = teredo.AppendAlternateAddressTrailer(b, alternate1, alternate2)
			sink = len(b) == 0
		},
		"Outbox": func() {
			for range 8 {
				out.Send(mapped, append(out.Next(), data...))
			}
			sink = len(out.Datagrams()) == 0
			out.Reset()
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	_ = sink
}
