package tunnel

import (
	"context"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// discovery is local discovery (RFC 4380 §5.2.8).
type discovery struct {
	latest slot[netip.Addr] // for listenLocally
	at     netip.Addr       // local address at which it is on
}

// setDiscovery turns local discovery on while the client is qualified from a private address, and off otherwise.
func (c *Client) setDiscovery(now time.Time, state qualify.State) {
	var local netip.Addr
	if c.cfg.Discovery != nil && state == qualify.Qualified && c.local.Addr().IsPrivate() {
		local = c.local.Addr()
	}
	if local == c.discovery.at {
		return
	}
	c.discovery.at = local
	c.peers.SetDiscovery(now, local.IsValid())
	c.discovery.latest.put(local)
}

// listenLocally has a socket for discovery bubbles open on the interface of the local address that setDiscovery told last.
func (c *Client) listenLocally(ctx context.Context) error {
	return c.discovery.latest.each(ctx, func(ctx context.Context, local netip.Addr) {
		if !local.IsValid() {
			return
		}
		conn, err := c.cfg.Discovery(local)
		if err != nil {
			c.cfg.Log.Warn("local discovery is not possible", "error", err)
			return
		}
		c.read(ctx, conn, func(now time.Time, m *Message, p *teredo.Packet) { c.peers.Discovered(now, m.Remote, p, &c.out) })
	})
}
