package peer

import (
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"github.com/teredo-suite/teredo/teredo"
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
	k := keyOf(a)
	p := l.add(l.table.lookup(k), k, now)
	p.path.Store(pathTo(endpointOf(at), 0))
	p.received.Store(now)
	p.sent.Store(now)
	p.sentPackets.Store(1)
	p.receivedPackets.Store(2)
}

// Bucket is what the table consists of.
type Bucket = bucket

// BucketsAt is the address of the first bucket.
func (l *list) BucketsAt() uintptr { return uintptr(unsafe.Pointer(&l.table.buckets[0])) }

// Buckets is the length of the table's bucket array, LongestBucket the most peers in one bucket.
func (l *list) Buckets() int { return len(l.table.buckets) }

// LongestBucket is the most peers that share a bucket.
func (l *list) LongestBucket() (most int) {
	for i := range l.table.buckets {
		n := 0
		for range l.table.buckets[i].all {
			n++
		}
		most = max(most, n)
	}
	return most
}

// Check verifies that chains, table, heap and queues agree with one another.
func (l *list) Check() error {
	_, err := l.check()
	return err
}

// Check verifies the random ports of a client, too.
func (c *Client) Check() error {
	seen, err := c.list.check()
	if err != nil {
		return err
	}
	return c.checkPorts(seen)
}

func (l *list) check() (map[*Peer]bool, error) {
	seen := make(map[*Peer]bool, l.Len())
	bytes, waiting := 0, 0
	for i := range l.parts {
		c := &l.parts[i]
		if err := c.check(); err != nil {
			return nil, err
		}
		for p := c.oldest; p != nil; p = p.newer {
			seen[p] = true
			if l.table.lookup(p.key) != p {
				return nil, fmt.Errorf("%v is in a chain but not in the table", p.addr())
			}
			n, err := p.checkSearch(l)
			if err != nil {
				return nil, fmt.Errorf("%v: %w", p.addr(), err)
			}
			bytes += n
			if p.searching() {
				waiting++
			}
		}
	}
	if bytes != l.heldInTotal || bytes > maxHeldInTotal {
		return nil, fmt.Errorf("%d bytes are held, %d on the books", bytes, l.heldInTotal)
	}
	if waiting != len(l.waiting) {
		return nil, fmt.Errorf("%d peers wait, %d in the heap", waiting, len(l.waiting))
	}
	return seen, l.checkTable(seen)
}

func (l *list) checkTable(seen map[*Peer]bool) error {
	n := 0
	for i := range l.table.buckets {
		for p := range l.table.buckets[i].all {
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

// checkSearch returns how many bytes are held for the peer.
func (p *Peer) checkSearch(l *list) (bytes int, err error) {
	s := p.search
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
	case len(s.held) > 0 && !s.isWaiting():
		return 0, fmt.Errorf("holds packets, and nothing will come back to them")
	case s.isWaiting() && (s.index >= len(l.waiting) || l.waiting[s.index] != s):
		return 0, fmt.Errorf("its place in the heap is wrong")
	case s.bubbles.n < 0 || s.bubbles.n > maxBubbles || s.sent < 0 || s.sent > transmissions:
		return 0, fmt.Errorf("%d bubbles, %d transmissions", s.bubbles.n, s.sent)
	}
	return bytes, nil
}

// Inbound has the signature of Relay.Inbound.
func (c *Client) Inbound(t time.Time, from netip.AddrPort, pkt *teredo.Packet, out *Output) {
	c.InboundVia(t, from, 0, pkt, out)
}

// OpenPorts is the number of random ports that peers have.
func (c *Client) OpenPorts() int { return len(c.ports.open) }

// checkPorts verifies that each random port has one peer on the list, and that no path leads through any other.
func (c *Client) checkPorts(seen map[*Peer]bool) error {
	for via, p := range c.ports.open {
		if !seen[p] || p.details == nil || p.details.random.via != via {
			return fmt.Errorf("random port %d belongs to nobody", via)
		}
	}
	for p := range seen {
		via := p.path.Load().via()
		switch {
		case p.trusted() && via != 0 && c.ports.open[via] != p:
			return fmt.Errorf("the path to %v leads through port %d, which is not its own", p.addr(), via)
		case p.details != nil && p.details.random.via != 0 && c.ports.open[p.details.random.via] != p:
			return fmt.Errorf("%v has port %d, which is not on the books", p.addr(), p.details.random.via)
		}
	}
	return nil
}

// MomentAge is the age of a moment.
func MomentAge(since, now Stamp) time.Duration {
	return time.Duration(momentOf(since).age(now)) * time.Second
}
