package peer

import (
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// Outside of the Teredo service, clients may have native addresses in prefixes of the relay's operator. The methods below
// translate, so that everything else deals with Teredo addresses only.

// Inward translates a packet from the native side for a client's native address. A packet that comes from such an address itself
// is left for Relay.Outbound to judge.
func (t *Table) Inward(packet []byte) {
	if len(packet) >= teredo.HeaderLen && !t.served.Load().isClients(sourceOf(packet)) {
		t.natives.Inward(packet)
	}
}

// Outward translates a packet for the native side. It reports whether that was for the native address of a client and has been
// translated back: the packet goes to the client, from the other one's native address. The relay is one hop on this way, too. Packets
// that a router has to answer with an error do not turn back: the kernel gets them, and says what is wrong.
func (t *Table) Outward(packet []byte) (turned bool) {
	t.natives.Outward(packet)
	if teredo.HopLimit(packet) <= 1 || len(packet) > teredo.MTU || !t.served.Load().isClients(destinationOf(packet)) || !t.natives.Inward(packet) {
		return false
	}
	teredo.PutHopLimit(packet, teredo.HopLimit(packet)-1)
	return true
}

// Translates reports whether there are native prefixes.
func (t *Table) Translates() bool { return len(t.natives) > 0 }

// isClients reports whether a native address is in a native prefix, other than those that the relay's host has there.
func (s *served) isClients(k key) bool {
	if len(s.natives) == 0 || !s.natives.Contains(k.addr()) {
		return false
	}
	for _, own := range s.own {
		if own == k {
			return false
		}
	}
	return true
}

// Turned handles a packet that Table.Outward has turned back and that Table.Turned had no path for.
func (r *Relay) Turned(t time.Time, packet []byte, out *Output) {
	r.count(r.carry(packet, r.table.Stamp(t), out))
}

// fromNative handles a packet from the native side whose source is in a native prefix. It reports whether that is all, and why
// the packet was dropped.
//
// If no client can have the address, a host that is a neighbour of the relay has, such as a router: its packets are carried. Else
// the address is a client's, and clients do not send from there. Only their servers do: they send connectivity tests (RFC
// 4380 §5.2.9) for them. The relay answers a test of one client by another one by itself. The other one could not: it
// would have to test the first one before it hears it.
func (r *Relay) fromNative(packet []byte, now Stamp, out *Output) (why drop.Reason, done bool) {
	src, _ := r.table.natives.Teredo(teredo.Source(packet))
	if r.refuseTeredo(keyOf(src)) != drop.None {
		r.table.natives.Inward(packet)
		return drop.None, false
	}
	dst := teredo.Destination(packet)
	reply := teredo.AppendEchoReply(nil, dst, packet)
	if !r.table.natives.Contains(dst) || len(reply) == 0 {
		return drop.Source, true
	}
	if client, _ := r.table.natives.Teredo(dst); r.refuseTeredo(keyOf(client)) != drop.None {
		return drop.NotGlobal, true
	}
	r.table.natives.Inward(reply)
	return r.carry(reply, now, out), true
}

// account is whom a packet for a client is on the account of: the network of its source, which for a client is that of its
// mapping.
func (r *Relay) account(src key) uint64 {
	if client, ok := r.table.natives.Teredo(src.addr()); ok {
		src = keyOf(client)
	}
	return src.network()
}
