package tunnel

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/internal/budget"
	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	mostPings      = 8                // that are under way at once
	pingsPerSecond = 10               // also as a burst
	replyWithin    = 2 * time.Second  // of a ping that has left, and of the server
	pathWithin     = 30 * time.Second // longer than any search
)

// Causes that package peer does not know.
const (
	Unanswered   Cause = "unanswered"    // a path is known, but no answer comes
	NotQualified Cause = "not-qualified" // the client has no Teredo address
	NativeIPv6   Cause = "native-ipv6"   // the client yields to native IPv6
	OwnAddress   Cause = "own-address"   // of the client itself
	Busy         Cause = "busy"          // too many pings, or too many packets that wait for the path
)

// PingResult is what has come of one Echo Request.
type PingResult struct {
	Address     netip.Addr     `json:"address"`
	Sent        bool           `json:"sent"` // the client has sent it, or looked for a path to send it by
	Answered    bool           `json:"answered"`
	RTTMillis   float64        `json:"rtt_ms"`
	Path        string         `json:"path"`       // "direct", "local" or "relay"; empty: none is known
	Relay       netip.AddrPort `json:"relay"`      // by which the answer has come, if the path is "relay"
	Endpoint    netip.AddrPort `json:"endpoint"`   // IPv4 address and port at the end of the path
	CarriedBy   string         `json:"carried_by"` // what carries packets to the peer, other than pings: "kernel" or "program"
	FoundMillis float64        `json:"found_ms"`   // the time that it took to find the path; 0: it was known
	Cause       Cause          `json:"cause,omitempty"`
	Reason      string         `json:"reason,omitempty"` // why there is no answer, in a sentence
}

// pings are the Echo Requests of the client itself that wait for their answers. The control goroutine owns them.
type pings struct {
	last    uint16 // sequence number
	running []*ping
	rate    budget.Bucket
}

type ping struct {
	to          netip.Addr
	sequence    uint16
	nonce       [8]byte
	began, left time.Time // it leaves when there is a path; zero: there is none yet
	result      chan PingResult
}

// Ping sends one ICMPv6 Echo Request from the client's own address, and waits for what comes of it. The error is that of ctx, or says
// that the client has stopped.
func (c *Client) Ping(ctx context.Context, to netip.Addr) (r PingResult, err error) {
	p := &ping{to: to, result: make(chan PingResult, 1)}
	if err := c.call(ctx, func(now time.Time) { c.startPing(now, p) }); err != nil {
		return r, err
	}
	select {
	case r = <-p.result:
	case <-c.stopped:
		return r, context.Canceled
	case <-ctx.Done():
		// It fails only when the client has stopped.
		_ = c.call(context.WithoutCancel(ctx), func(time.Time) { c.forgetPing(p) })
		return r, ctx.Err()
	}
	peers := []Peer{{Address: r.Address, Endpoint: r.Endpoint}}
	c.kernel.carriers(peers)
	r.CarriedBy = peers[0].CarriedBy
	return r, nil
}

// startPing sends a ping, or says why not.
func (c *Client) startPing(now time.Time, p *ping) {
	own, s := c.facts(), &c.pings
	switch {
	case len(s.running) >= mostPings || !s.rate.Allow(int64(c.table.Stamp(now)), budget.Rate{PerSecond: pingsPerSecond, Burst: pingsPerSecond}, 1):
		c.refusePing(p, Busy, "Too many pings are under way: try again in a moment.")
		return
	case own.State != qualify.Qualified:
		cause, reason := c.whyNotQualified(now)
		c.refusePing(p, cause, reason)
		return
	case p.to == own.Address || p.to == own.Native:
		c.refusePing(p, OwnAddress, fmt.Sprintf("%v is this client's own address.", p.to))
		return
	}
	s.last++
	p.sequence, p.began = s.last, now
	var why drop.Reason
	p.nonce, why = c.peers.Ping(now, p.to, p.sequence, &c.out)
	switch why {
	case drop.None:
	case drop.NotQualified:
		c.refusePing(p, NotQualified, "This client has no Teredo address at the moment.")
		return
	case drop.QueueFull:
		c.refusePing(p, Busy, fmt.Sprintf("Too many packets wait for a path to %v.", p.to))
		return
	default:
		c.refusePing(p, peer.Policy, c.peers.Explain(peer.Policy, p.to))
		return
	}
	if !c.table.Live(p.to, c.table.Stamp(now)) {
		c.qualifier.Check(now, &c.out.UDP) // should no path be found, the cause may be the server
	}
	s.running = append(s.running, p)
	c.table.SetPinging(true)
}

// whyNotQualified says why the client has no address.
func (c *Client) whyNotQualified(now time.Time) (Cause, string) {
	if c.network.Native != "" {
		return NativeIPv6, fmt.Sprintf("This host has native IPv6 through %s, so this client has given up its Teredo address.", c.network.Native)
	}
	s := c.status(now)
	text := fmt.Sprintf("This client has no Teredo address (state %s)", s.State)
	if s.LastError != "" {
		text += ": " + s.LastError
	}
	if s.WaitingFor != "" {
		text += "; it waits for " + s.WaitingFor
	}
	return NotQualified, text + "."
}

// followPings notes which pings have left, and ends those that are in vain.
func (c *Client) followPings(now time.Time) {
	for _, p := range slices.Clone(c.pings.running) {
		i, _ := c.peers.Peer(now, p.to)
		if p.left.IsZero() && i.State == "trusted" {
			p.left = now
		}
		left := !p.left.IsZero()
		late := left && now.Sub(p.left) >= replyWithin
		switch {
		case i.Cause == peer.Refused, late && i.Cause == peer.OneWay:
			c.endPing(now, p, PingResult{Cause: i.Cause, Reason: c.peers.Explain(i.Cause, p.to)})
		case late:
			c.endPing(now, p, PingResult{Cause: Unanswered, Reason: unanswered(i)})
		case !left && (i.State != "searching" || now.Sub(p.began) >= pathWithin):
			cause, reason := c.whyNoPath(now, p, i)
			c.endPing(now, p, PingResult{Cause: cause, Reason: reason})
		}
	}
}

// whyNoPath says why the search for a path has failed.
func (c *Client) whyNoPath(now time.Time, p *ping, i Peer) (Cause, string) {
	own := c.facts()
	if own.State != qualify.Qualified {
		return c.whyNotQualified(now)
	}
	cause := i.Cause
	switch {
	case cause == "" && teredo.IsTeredo(p.to):
		cause = peer.Silent
	case cause == "":
		cause = peer.NoRelay
	}
	if (cause == peer.Silent || cause == peer.NoRelay) && now.Sub(p.began) >= replyWithin && own.LastHeard.Before(p.began) {
		cause = peer.ServerSilent
	}
	return cause, c.peers.Explain(cause, p.to)
}

func unanswered(i Peer) string {
	way := "directly at"
	switch i.Path {
	case "relay":
		way = "through the relay"
	case "local":
		way = "on the same subnet at"
	}
	return fmt.Sprintf("The path to %v is known, %s %v, but the host is silent: it is off, or a firewall drops Echo Requests.", i.Address, way, i.Endpoint)
}

// answersPing reports whether a packet is the answer to a ping, and ends that ping.
func (c *Client) answersPing(now time.Time, packet []byte) bool {
	p := c.pingOf(packet, teredo.ICMPv6EchoReply, teredo.Source)
	if p != nil {
		c.endPing(now, p, PingResult{Answered: true, RTTMillis: millis(now.Sub(p.left))})
	}
	return p != nil
}

// refusesPing reports whether a packet is an ICMPv6 error about a ping, and ends that ping. It may come from any router, by any path:
// who quotes the nonce has seen the ping.
func (c *Client) refusesPing(now time.Time, packet []byte) bool {
	if len(c.pings.running) == 0 {
		return false
	}
	e, err := teredo.ParseICMPv6Error(packet)
	if err != nil {
		return false
	}
	p := c.pingOf(e.Invoking, teredo.ICMPv6EchoRequest, teredo.Destination)
	if p != nil {
		c.endPing(now, p, PingResult{Cause: peer.Refused, Reason: peer.Refusal(teredo.Source(packet), e)})
	}
	return p != nil
}

// pingOf returns the ping that an Echo Request is, or an Echo Reply answers; far is which of its addresses is the other end. It
// returns nil if there is none.
func (c *Client) pingOf(packet []byte, kind uint8, far func([]byte) netip.Addr) *ping {
	if len(c.pings.running) == 0 {
		return nil
	}
	e, err := teredo.ParseEcho(packet)
	if err != nil || e.Type != kind || e.ID != c.table.PingID() {
		return nil
	}
	for _, p := range c.pings.running {
		if p.sequence == e.Seq && p.to == far(packet) && string(p.nonce[:]) == string(e.Data) {
			return p
		}
	}
	return nil
}

// endPing tells what has come of a ping.
func (c *Client) endPing(now time.Time, p *ping, r PingResult) {
	r.Address, r.Sent = p.to, true
	if i, ok := c.peers.Peer(now, p.to); ok && i.State == "trusted" {
		r.Path, r.Endpoint = i.Path, i.Endpoint
		if r.Path == "relay" {
			r.Relay = r.Endpoint
		}
	}
	if !p.left.IsZero() {
		r.FoundMillis = millis(p.left.Sub(p.began))
	}
	p.result <- r
	c.forgetPing(p)
}

// refusePing says why a ping is not sent.
func (c *Client) refusePing(p *ping, cause Cause, reason string) {
	p.result <- PingResult{Address: p.to, Cause: cause, Reason: reason}
}

func (c *Client) forgetPing(p *ping) {
	s := &c.pings
	s.running = slices.DeleteFunc(s.running, func(q *ping) bool { return q == p })
	c.table.SetPinging(len(s.running) > 0)
}

// deadline is when a ping that waits has waited long enough.
func (s *pings) deadline() (at time.Time, ok bool) {
	for _, p := range s.running {
		end := p.left.Add(replyWithin)
		if p.left.IsZero() {
			end = p.began.Add(pathWithin)
		}
		if !ok || end.Before(at) {
			at, ok = end, true
		}
	}
	return at, ok
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
