package peer

import (
	"net/netip"
	"time"
)

// Confirmed is the path of a peer for packets that have the address local at our side, if others than the workers may carry
// them: it is valid, needs no refresh yet, and its packets leave from the service port and come back there. heard is the time of
// the last reception.
func (l *list) Confirmed(t time.Time, local, peer netip.Addr) (to netip.AddrPort, heard time.Time, ok bool) {
	p, own := l.table.lookup(keyOf(peer)), keyOf(local)
	ours := l.table.isOwn(own) || l.table.relays(own, incoming) && l.table.relays(own, outgoing)
	if p == nil || !ours || !p.recent(l.table.Stamp(t)) || p.path.Load().via() != 0 || p.isAsymmetric() {
		return netip.AddrPort{}, time.Time{}, false
	}
	return p.endpoint().addrPort(), l.table.time(p.received.Load()), true
}

// Traffic is how many packets went one way, and how many bytes they had.
type Traffic struct{ Packets, Bytes uint64 }

// Carried records packets that others have carried on the path of a peer to an endpoint, the last of them received when it was
// heard. It reports whether they may go on: that is its path still, and the peer does not leave them unanswered.
func (l *list) Carried(t time.Time, peer netip.Addr, to netip.AddrPort, heard time.Time, sent, received Traffic) bool {
	p := l.table.lookup(keyOf(peer))
	if p == nil || p.path.Load()&^pathMarks != pathTo(endpointOf(to), 0) || p.isAsymmetric() {
		return false
	}
	at := l.table.Stamp(heard)
	if was := p.received.Load(); was < at {
		p.received.CompareAndSwap(was, at) // else a worker has heard of it just now
	}
	if w := p.path.Load(); received.Packets > 0 && w&pathRefreshing != 0 {
		p.path.CompareAndSwap(w, w&^pathRefreshing)
	}
	p.sentPackets.Add(sent.Packets)
	p.sentBytes.Add(sent.Bytes)
	if received.Packets > 0 {
		p.heardUntil(received, at)
	}
	now, n, last := l.table.Stamp(t), 0, p.sent.Load()
	if sent.Packets > 0 {
		n, last = unanswered, p.sent.Swap(now)
	} else if p.unheard.Load() == 0 || now-last >= pause {
		return true // there is nothing to be answered
	}
	return received.Packets > 0 || !p.silent(n, p.received.Load(), last, now)
}
