package peer_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// Nothing on a packet path allocates: hits of the workers, and in the steady state the bubbles, answers and refreshes of
// the control goroutine.
func TestNoAllocations(t *testing.T) {
	guard := func(name string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	p := new(teredo.Packet)
	inbound := func(r *rig, from netip.AddrPort, payload []byte) func() {
		return func() {
			if p.Parse(payload) == nil {
				r.m.Inbound(r.now, from, p, &r.out)
			}
			r.out.Reset()
		}
	}

	r, _ := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	outgoing, fromPeer, unknown := data(own, other, 1), data(other, own, 1), data(own, host, 1)
	guard("Outgoing", func() { r.m.Table().Outgoing(outgoing, 1, len(outgoing), 1) })
	guard("Outgoing, refresh", func() { r.m.Table().Outgoing(outgoing, 1, len(outgoing), peer.Stamp(25*time.Second)) })
	guard("Outgoing, miss", func() { r.m.Table().Outgoing(unknown, 1, len(unknown), 1) })
	guard("Warm", func() { r.m.Table().Warm([][]byte{outgoing[24:40], unknown[24:40]}) })
	guard("Incoming", func() { incoming(r.m.Table(), fromPeer, peerMapped, 0, 1) })
	guard("Incoming, miss", func() { incoming(r.m.Table(), fromPeer, relay1, 0, 1) })
	guard("client, direct bubble", inbound(r, peerMapped, bubble(other, own)))
	guard("client, data with a trailer", inbound(r, peerMapped, append(data(other, own, 1), 1, 4, 1, 2, 3, 4)))
	guard("client, bubble of a relay", inbound(r, server, via(relay1, bubble(relayLL, own))))
	guard("client, indirect bubble", inbound(r, server, bubble(other, own)))
	guard("client, Outbound on a valid path", func() { r.m.Outbound(r.now, outgoing, &r.out); r.out.Reset() })
	r.m.Table().SetPinging(true)
	refusal := teredo.AppendUnreachable(nil, other, teredo.UnreachablePort, data(own, other, 1))
	guard("Incoming, ICMPv6 error during a ping", func() { incoming(r.m.Table(), refusal, peerMapped, 0, 1) })
	guard("client, ICMPv6 error", inbound(r, peerMapped, refusal))
	guard("client, refused", inbound(r, peerMapped, data(other, host, 1)))

	r, _, _ = portRig(t, all)
	guard("Outgoing, random port", func() { r.m.Table().Outgoing(outgoing, 1, len(outgoing), 1) })
	guard("Incoming, random port", func() { incoming(r.m.Table(), fromPeer, peerPort, 1, 1) })
	guard("client, bubble with all trailers", inbound(r, server, indirect(nonce(peerNonce2), port(5000), alternates(nearAt, relay1))))
	guard("client, bubble with a wrong nonce", inbound(r, peerMoved, with(nonce(peerNonce))))
	r, _, _ = extendedRig(t, plain, upnpNAT)
	r.send(data(own, other, 1))
	r.receive(peerMoved, with(nonce(r.lastNonce())))
	guard("Incoming, asymmetric", func() {
		if incoming(r.m.Table(), fromPeer, peerMoved, 0, 1) != peer.Carry {
			t.Error("not carried")
		}
	})
	guard("client, bubble of an asymmetric peer", inbound(r, peerMoved, bubble(other, own)))

	r, _ = relayRig(t)
	r.send(data(host, other, 1))
	r.receive(peerMapped, bubble(other, relayLL))
	native, client := data(host, other, 1), data(other, host, 1)
	guard("relay, Outgoing", func() { r.m.Table().Outgoing(native, 1, len(native), 1) })
	guard("relay, Incoming", func() { incoming(r.m.Table(), client, peerMapped, 0, 1) })
	guard("relay, bubble", inbound(r, peerMapped, bubble(other, relayLL)))
	guard("relay, Outbound on a valid path", func() { r.m.Outbound(r.now, native, &r.out); r.out.Reset() })
	guard("Tick", func() { r.m.Tick(r.now, &r.out) })
}
