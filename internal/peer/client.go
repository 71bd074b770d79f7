package peer

import (
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// Client is the machine of a client's rules for paths. One goroutine owns it.
type Client struct {
	list
	own        netip.Addr // own Teredo address; zero: not qualified
	ownKey     key
	last       netip.Addr // the address that the list belongs to
	mapped     endpoint   // own mapped address and port
	server     endpoint
	discovery  discovery // RFC 4380 §5.2.8
	extensions Extensions
	nat        NAT
	ports      randomPorts // RFC 6081 §5.4

	serverSilent bool // the server has ceased to answer
}

// details are what a client keeps of some peers besides their entry.
type details struct {
	local  localPeer // RFC 4380 §5.2.8
	relays relays    // of a native host
	extension
}

// ensureDetails returns the peer's details, making them when there are none.
func (p *Peer) ensureDetails() *details {
	if p.details == nil {
		p.details = new(details)
	}
	return p.details
}

// NewClient makes a client that knows no peer and has no address yet.
func NewClient(now time.Time, cfg Config) *Client {
	c := &Client{
		list:       newList(now, cfg, false, clientBudgets()),
		extensions: cfg.Extensions,
		ports:      randomPorts{Ports: cfg.Ports, open: make(map[uint8]*Peer)},
	}
	c.forget, c.explain = c.closePort, c.Explain
	return c
}

// SetAddress gives the client its Teredo address, or takes it away (zero). A different address than the last one means a
// new mapping, through which no peer has a path: the list is emptied (RFC 4380 §5.2.5).
func (c *Client) SetAddress(own netip.Addr) {
	c.own = own
	if !own.IsValid() {
		c.table.own.Store(nil)
		return
	}
	if own != c.last {
		c.clear()
		c.last = own
	}
	k := keyOf(own)
	c.ownKey, c.mapped, c.server = k, k.mapped(), k.server()
	c.errorSource = teredo.ServerLinkLocal(k.server().addr())
	c.discovery.next = 0 // at once
	c.table.own.Store(&k)
}

// Tick repeats what went unanswered and forgets what is old.
func (c *Client) Tick(t time.Time, out *Output) {
	now := c.table.Stamp(t)
	c.due(now, func(p *Peer) { c.retry(p, now, out) })
	c.sweep(now)
	c.announce(now, out)
	c.refreshPorts(now, out)
}

// Deadline is when Tick wants to be called next, if no packet comes before.
func (c *Client) Deadline() (time.Time, bool) {
	at, ok := c.list.Deadline()
	earlier := func(s Stamp) {
		if next := c.table.time(s); !ok || next.Before(at) {
			at, ok = next, true
		}
	}
	if c.discovering() {
		earlier(c.discovery.next)
	}
	if len(c.ports.open) > 0 {
		earlier(c.ports.nextRefresh)
	}
	return at, ok
}
