package peer_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// all are all extensions of RFC 6081.
var all = peer.Extensions{
	SymmetricNAT: true, UPnP: true, PortPreserving: true, Sequential: true, Hairpinning: true, LoadReduction: true,
}

var (
	ownLocal   = netip.MustParseAddrPort("10.0.0.1:4096")
	secondary  = netip.MustParseAddrPort("203.0.113.9:3544")
	peerMoved  = netip.MustParseAddrPort("192.0.2.10:9999") // where a symmetric NAT has the peer for us
	peerPort   = netip.MustParseAddrPort("192.0.2.10:5000") // the peer's random port
	peerNonce  = [4]byte{0xaa, 0xaa, 0xaa, 0xaa}
	peerNonce2 = [4]byte{0xbb, 0xbb, 0xbb, 0xbb}
)

// Kinds of NATs that the client may be behind.
var (
	restrictedNAT = peer.NAT{Local: ownLocal, Secondary: secondary}
	symmetricNAT  = peer.NAT{Local: ownLocal, Symmetric: true}
	preservingNAT = peer.NAT{Local: ownLocal, Secondary: secondary, Symmetric: true, PortPreserving: true}
	sequentialNAT = peer.NAT{Local: ownLocal, Secondary: secondary, Symmetric: true}
	upnpNAT       = peer.NAT{Local: ownLocal, Symmetric: true, PortMapping: true}
)

// randomPorts hands out random ports: number 40001 with via 1, and so on, each once.
type randomPorts struct {
	testing.TB
	open   map[uint8]bool
	opened int
	most   int // at a time
}

func (f *randomPorts) ports() peer.Ports {
	return peer.Ports{
		Open: func() (via uint8, port uint16, ok bool) {
			if len(f.open) >= f.most {
				return 0, 0, false
			}
			f.opened++
			for via = uint8(f.opened); via == 0 || f.open[via]; via++ {
			}
			f.open[via] = true
			return via, uint16(40000 + f.opened), true
		},
		Close: func(via uint8) {
			if !f.open[via] {
				f.Errorf("port %d is closed, and was not open", via)
			}
			delete(f.open, via)
		},
	}
}

// extendedRig is a client with extensions, behind a NAT of the kind.
func extendedRig(t testing.TB, e peer.Extensions, nat peer.NAT) (*rig, *peer.Client, *randomPorts) {
	r, cfg := newRig(t)
	f := &randomPorts{TB: t, open: map[uint8]bool{}, most: 32}
	cfg.Extensions, cfg.Ports = e, f.ports()
	c := peer.NewClient(r.now, cfg)
	c.SetAddress(own)
	c.SetNAT(nat)
	r.m = c
	return r, c, f
}

// without returns all extensions but those that the function turns off.
func without(off func(*peer.Extensions)) peer.Extensions {
	e := all
	off(&e)
	return e
}

// plain are the extensions without hairpinning, whose trailers would stand in every line.
var plain = without(func(e *peer.Extensions) { e.Hairpinning = false })

// receiveAt gives a UDP payload that came to a random port to the client.
func (r *rig) receiveAt(port uint8, from netip.AddrPort, payload []byte) []string {
	r.Helper()
	r.incomingAt(port, from, payload)
	return r.report()
}

// incomingAt gives a UDP payload to a worker and, if that does not carry it, to the machine. Only clients have ports but 0.
func (r *rig) incomingAt(port uint8, from netip.AddrPort, payload []byte) {
	if incoming(r.m.Table(), payload, from, port, r.m.Table().Stamp(r.now)) == peer.Carry {
		r.out.TUN.Send(netip.AddrPort{}, append(r.out.TUN.Next(), payload...))
		return
	}
	var p teredo.Packet
	if p.Parse(payload) != nil {
		r.drops.Count(drop.Malformed)
		return
	}
	if port == 0 {
		r.m.Inbound(r.now, from, &p, &r.out)
		return
	}
	r.m.(*peer.Client).InboundVia(r.now, from, port, &p, &r.out)
}

// describe says what a datagram is, and what its trailers are. It notes nonces.
func (r *rig) describe(d teredo.Datagram, addrs map[netip.Addr]string) (what, trailers string) {
	var p teredo.Packet
	if p.Parse(d.Payload) != nil {
		return fmt.Sprintf("%x", d.Payload), ""
	}
	if p.HasAuth && teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6RouterSolicitation) {
		r.echoTests = append(r.echoTests, p.Auth.Nonce)
		return "solicitation", ""
	}
	for b := p.Trailers; len(b) > 0; {
		t, rest, ok := teredo.NextTrailer(b)
		if !ok {
			return fmt.Sprintf("%x", d.Payload), ""
		}
		b = rest
		if nonce, ok := t.Nonce(); ok {
			trailers += ", nonce " + r.nameOf(nonce, d.Remote)
		} else if port, ok := t.RandomPort(); ok {
			trailers += fmt.Sprintf(", port %d", port)
		} else if list, ok := t.AlternateAddresses(nil); ok {
			trailers += ", alternates " + strings.Trim(fmt.Sprint(list), "[]")
		} else if kind, ok := t.NeighborDiscovery(); ok {
			trailers += map[uint8]string{teredo.DiscoverySolicitation: ", solicits", teredo.DiscoveryAdvertisement: ", advertises"}[kind]
		} else {
			trailers += fmt.Sprintf(", trailer %d", t.Type)
		}
	}
	return describe(p.IPv6, addrs), trailers
}

// nameOf is n1 for the nonce of the first indirect bubble that was sent, and so on, and a number for a nonce of the peer.
func (r *rig) nameOf(nonce [4]byte, to netip.AddrPort) string {
	for i, n := range r.nonces {
		if n == nonce {
			return fmt.Sprintf("n%d", i+1)
		}
	}
	if to.Port() != teredo.Port {
		return fmt.Sprintf("%x", nonce)
	}
	r.nonces = append(r.nonces, nonce)
	return fmt.Sprintf("n%d", len(r.nonces))
}

// lastNonce is that of the last indirect bubble that was sent.
func (r *rig) lastNonce() [4]byte {
	r.Helper()
	if len(r.nonces) == 0 {
		r.Fatal("no nonce was sent")
	}
	return r.nonces[len(r.nonces)-1]
}

// with puts trailers behind a bubble of the peer.
func with(trailers ...[]byte) []byte {
	b := bubble(other, own)
	for _, t := range trailers {
		b = append(b, t...)
	}
	return b
}

func nonce(n [4]byte) []byte                { return teredo.AppendNonceTrailer(nil, n) }
func port(n uint16) []byte                  { return teredo.AppendRandomPortTrailer(nil, n) }
func alternates(a ...netip.AddrPort) []byte { return teredo.AppendAlternateAddressTrailer(nil, a...) }
func discovery(kind uint8) []byte           { return teredo.AppendNeighborDiscoveryTrailer(nil, kind) }
func indirect(trailers ...[]byte) []byte    { return via(peerServer, with(trailers...)) }
func toPeer(what string, at string) string  { return what + " own>other to " + at }

// unreachable is what becomes of a packet for the peer that finds no path.
func unreachable(number int) (lines []string) {
	return []string{fmt.Sprintf("deliver unreachable server>own, data %d own>other", number), "drop 1 no-path"}
}
