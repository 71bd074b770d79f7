package tunnel

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// setDiscovery turns local discovery on while the client is qualified from a private address, and off otherwise.
func (c *Client) setDiscovery(now time.Time, state qualify.State) {
	var local netip.Addr
	if c.cfg.Discovery != nil && state == qualify.Qualified && c.local.Addr().IsPrivate() {
		local = c.local.Addr()
	}
	if local == c.discoveryAt {
		return
	}
	c.discoveryAt = local
	c.peers.SetDiscovery(now, local.IsValid())
	select {
	case <-c.discover: // superseded
	default:
	}
	c.discover <- local
}

// listenLocally has a socket for discovery bubbles open on the interface of the local address that setDiscovery told last.
func (c *Client) listenLocally(ctx context.Context) error {
	var readers sync.WaitGroup
	defer readers.Wait()
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case local := <-c.discover:
			stop()
			stop = func() {}
			if !local.IsValid() {
				continue
			}
			conn, err := c.cfg.Discovery(local)
			if err != nil {
				c.cfg.Log.Warn("local discovery is not possible", "error", err)
				continue
			}
			stop = func() { conn.Close() }
			readers.Go(func() { c.readDiscovery(ctx, conn) })
		}
	}
}

// readDiscovery gives discovery bubbles to the rules until conn is closed. It waits for each to be handled, so a flood of
// them is dropped by the kernel.
func (c *Client) readDiscovery(ctx context.Context, conn Conn) {
	messages := make([]udp.Message, 8)
	for {
		n, err := conn.ReadBatch(messages)
		if err != nil {
			return
		}
		for _, m := range messages[:n] {
			var packet teredo.Packet
			if err := packet.Parse(m.Buf[:m.N]); err != nil {
				c.drops.Count(drop.Malformed)
				continue
			}
			if c.call(ctx, func(now time.Time) { c.peers.Discovered(now, m.Remote, &packet, &c.out) }) != nil {
				return
			}
		}
	}
}
