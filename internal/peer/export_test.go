package peer

import (
	"fmt"
	"net/netip"
)

// Limits and times that tests refer to.
const (
	MaxHeld        = maxHeld
	MaxHeldBytes   = maxHeldBytes
	MaxHeldInTotal = maxHeldInTotal
	TickMost       = tickMost
	ErrorsAtOnce   = errorsPerSecond
)

// Held is the number of bytes held in all queues.
func (l *list) Held() int { return l.heldInTotal }

// Waiting is the number of searches that Tick will come back to.
func (l *list) Waiting() int { return len(l.waiting) }

// Knows reports whether the address has an entry.
func (l *list) Knows(a netip.Addr) bool { return l.table.lookup(keyOf(a)) != nil }

// Establish adds a peer with which packets have gone both ways.
func (l *list) Establish(a netip.Addr, at netip.AddrPort, now Stamp) {
	p := l.add(keyOf(a), now)
	p.path.Store(endpointWord(at) | pathTrusted)
	p.received.Store(int64(now))
	p.sent.Store(int64(now))
	p.sentPackets.Store(1)
	p.receivedPackets.Store(2)
}

// Buckets is the length of the table's bucket array, LongestBucket the most peers in one bucket.
func (l *list) Buckets() int { return len(l.table.buckets) }

// LongestBucket is the most peers that share a bucket.
func (l *list) LongestBucket() (most int) {
	for i := range l.table.buckets {
		n := 0
		for p := l.table.buckets[i].Load(); p != nil; p = p.next.Load() {
			n++
		}
		most = max(most, n)
	}
	return most
}

// Check verifies that chains, table, heap and queues agree with one another.
func (l *list) Check() error {
	seen := make(map[*Peer]bool, l.Len())
	bytes, waiting := 0, 0
	for i := range l.parts {
		c := &l.parts[i]
		if err := c.check(); err != nil {
			return err
		}
		for p := c.oldest; p != nil; p = p.newer {
			seen[p] = true
			if l.table.lookup(p.key) != p {
				return fmt.Errorf("%v is in a chain but not in the table", p.addr())
			}
			n, err := p.checkSetup(l)
			if err != nil {
				return fmt.Errorf("%v: %w", p.addr(), err)
			}
			bytes += n
			if p.setup != nil && p.setup.waiting() {
				waiting++
			}
		}
	}
	if err := l.checkPorts(seen); err != nil {
		return err
	}
	if bytes != l.heldInTotal || bytes > maxHeldInTotal {
		return fmt.Errorf("%d bytes are held, %d on the books", bytes, l.heldInTotal)
	}
	if waiting != len(l.waiting) {
		return fmt.Errorf("%d peers wait, %d in the heap", waiting, len(l.waiting))
	}
	return l.checkTable(seen)
}

func (l *list) checkTable(seen map[*Peer]bool) error {
	n := 0
	for i := range l.table.buckets {
		for p := l.table.buckets[i].Load(); p != nil; p = p.next.Load() {
			n++
			if !seen[p] {
				return fmt.Errorf("%v is in the table but in no chain", p.addr())
			}
		}
	}
	if n != len(seen) || n != l.Len() {
		return fmt.Errorf("%d in the table, %d in the chains, Len is %d", n, len(seen), l.Len())
	}
	return nil
}

func (c *chain) check() error {
	n := 0
	var last *Peer
	for p := c.oldest; p != nil; last, p = p, p.newer {
		if p.older != last || p.part != c.part {
			return fmt.Errorf("the chain is broken at %v", p.addr())
		}
		n++
	}
	if c.newest != last || n != c.n || n > c.most {
		return fmt.Errorf("a chain of %d peers says %d, at most %d", n, c.n, c.most)
	}
	return nil
}

// checkSetup returns how many bytes are held for the peer.
func (p *Peer) checkSetup(l *list) (bytes int, err error) {
	s := p.setup
	if s == nil {
		return 0, nil
	}
	for _, h := range s.held {
		bytes += len(h.packet)
	}
	switch {
	case s.peer != p:
		return 0, fmt.Errorf("has the search of another peer")
	case bytes != s.heldSize || bytes > maxHeldBytes || len(s.held) > maxHeld:
		return 0, fmt.Errorf("holds %d packets with %d bytes, %d on the books", len(s.held), bytes, s.heldSize)
	case len(s.held) > 0 && !s.waiting():
		return 0, fmt.Errorf("holds packets, and nothing will come back to them")
	case s.waiting() && (s.index >= len(l.waiting) || l.waiting[s.index] != s):
		return 0, fmt.Errorf("its place in the heap is wrong")
	case s.nbubbles < 0 || s.nbubbles > maxBubbles || s.sent < 0 || s.sent > transmissions:
		return 0, fmt.Errorf("%d bubbles, %d transmissions", s.nbubbles, s.sent)
	}
	return bytes, nil
}

// OpenPorts is the number of random ports that peers have.
func (l *list) OpenPorts() int { return len(l.ports) }

// checkPorts verifies that each random port has one peer on the list, and that no path leads through any other.
func (l *list) checkPorts(seen map[*Peer]bool) error {
	for via, p := range l.ports {
		if !seen[p] || p.ext == nil || p.ext.via != via {
			return fmt.Errorf("random port %d belongs to nobody", via)
		}
	}
	for p := range seen {
		switch {
		case p.trusted() && p.via() != 0 && l.ports[p.via()] != p:
			return fmt.Errorf("the path to %v leads through port %d, which is not its own", p.addr(), p.via())
		case p.ext != nil && p.ext.via != 0 && l.ports[p.ext.via] != p:
			return fmt.Errorf("%v has port %d, which is not on the books", p.addr(), p.ext.via)
		}
	}
	return nil
}
