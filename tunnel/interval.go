package tunnel

import (
	"context"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// secondaryPort is the number of the secondary port's socket, which sockets do not have.
const secondaryPort = 255

// determination is the refresh interval determination under way, with its secondary port (RFC 4380 §5.2.7). It belongs to
// the control goroutine.
type determination struct {
	latest   slot[Conn]             // for listenSecondary
	mapped   netip.AddrPort         // mapping of the service port that it is about; zero while not qualified
	machine  *qualify.Determination // nil: it could not begin
	conn     Conn                   // the secondary port; nil when it has ended
	interval time.Duration          // as set last; 0: the configured one
	problem  string                 // why it could not begin
	out      teredo.Outbox
	messages []Message
}

// running reports whether the secondary port is open.
func (d *determination) running() bool { return d.conn != nil }

// progress says how far it is; empty: there is nothing to determine.
func (d *determination) progress() string {
	if d.machine == nil {
		return d.problem
	}
	return d.machine.Progress()
}

// determine begins the determination when the service port has qualified, ends it when that is over, and begins it anew
// with a new mapping, as the NAT may be another.
func (c *Client) determine(now time.Time, s qualify.Status) {
	d := &c.determination
	var mapped netip.AddrPort
	if s.State == qualify.Qualified {
		mapped = s.Mapped
	}
	if c.cfg.SecondaryPort == nil || mapped == d.mapped {
		return
	}
	c.closeSecondary()
	d.mapped, d.machine, d.problem = mapped, nil, ""
	if d.interval != 0 && c.qualifier != nil {
		c.qualifier.SetInterval(qualify.DefaultInterval)
	}
	d.interval = 0
	if mapped.IsValid() {
		c.beginDetermination(now)
	}
}

func (c *Client) beginDetermination(now time.Time) {
	d := &c.determination
	machine, conn, err := c.newDetermination()
	if err != nil {
		d.problem = "not determined: " + err.Error()
		c.cfg.Log.Warn("cannot determine the refresh interval", "error", err)
		return
	}
	d.machine, d.conn = machine, conn
	d.latest.put(conn)
	machine.Start(now, &d.out)
	c.carryOutDetermination()
}

func (c *Client) newDetermination() (*qualify.Determination, Conn, error) {
	cfg := c.qualifyConfig(c.servers)
	cfg.Local = nil // it is that of the service port
	machine, err := qualify.NewDetermination(cfg)
	if err != nil {
		return nil, nil, err
	}
	conn, err := c.cfg.SecondaryPort()
	return machine, conn, err
}

// tickDetermination does what is due. Bubbles leave from the service port with everything else that does.
func (c *Client) tickDetermination(now time.Time) {
	d := &c.determination
	at, ok := d.deadline()
	if !ok || now.Before(at) {
		return
	}
	d.machine.Tick(now, c.facts().Address, &c.out.UDP, &d.out)
	c.carryOutDetermination()
}

func (d *determination) deadline() (time.Time, bool) {
	if !d.running() {
		return time.Time{}, false
	}
	return d.machine.Deadline()
}

// inboundSecondary takes a datagram that came to conn, which may have been superseded meanwhile.
func (c *Client) inboundSecondary(now time.Time, conn Conn, from netip.AddrPort, p *teredo.Packet) {
	d := &c.determination
	if d.conn != conn {
		return
	}
	if teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6RouterAdvertisement) {
		c.advertised(now, from, secondaryPort, p)
	} else { // a bubble; it refuses advertisements only
		_ = d.machine.Inbound(now, from, p, &d.out)
	}
	c.carryOutDetermination()
}

// carryOutDetermination sends what is to leave from the secondary port, and takes a new interval into use.
func (c *Client) carryOutDetermination() {
	d := &c.determination
	d.messages = d.messages[:0]
	for _, m := range d.out.Datagrams() {
		d.messages = append(d.messages, Message{Buf: m.Payload, N: len(m.Payload), Remote: m.Remote})
	}
	if len(d.messages) > 0 {
		if n, _ := d.conn.WriteBatch(d.messages); n < len(d.messages) {
			c.drops.Add(drop.SendFailed, uint64(len(d.messages)-n))
		}
	}
	d.out.Reset()
	if found := d.machine.Interval(); found > qualify.DefaultInterval && found != d.interval {
		d.interval = found
		c.qualifier.SetInterval(found)
	}
	if d.machine.Ended() {
		c.cfg.Log.Info("refresh interval", "interval", d.machine.Interval(), "determination", d.progress())
		c.closeSecondary()
	}
}

// closeSecondary closes the secondary port if it is open (C-INT-07).
func (c *Client) closeSecondary() {
	if d := &c.determination; d.running() {
		d.conn.Close()
		d.conn = nil
	}
}

// listenSecondary reads one secondary port after the other.
func (c *Client) listenSecondary(ctx context.Context) error {
	return c.determination.latest.each(ctx, func(ctx context.Context, conn Conn) {
		c.read(ctx, conn, func(now time.Time, m *Message, p *teredo.Packet) { c.inboundSecondary(now, conn, m.Remote, p) })
	})
}

// refreshInterval is the refresh interval in use.
func (c *Client) refreshInterval() time.Duration {
	switch {
	case c.determination.interval != 0:
		return c.determination.interval
	case c.cfg.Interval != 0:
		return c.cfg.Interval
	}
	return qualify.DefaultInterval
}
