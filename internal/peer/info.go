package peer

import (
	"net/netip"
	"time"
)

// Info describes one entry of the list for a person or a program to read.
type Info struct {
	Address         netip.Addr     `json:"address"`
	Endpoint        netip.AddrPort `json:"endpoint"`   // where packets for it go; zero while no path is known
	State           string         `json:"state"`      // "trusted", "searching", "failed" (no path was found), "idle" (no valid path, none looked for)
	Path            string         `json:"path"`       // "direct" to another client, "local" to one on the same subnet, "relay" to a native host
	CarriedBy       string         `json:"carried_by"` // "kernel" if it carries flows of the peer, otherwise "program"; "" while no path is known
	SentPackets     uint64         `json:"sent_packets"`
	ReceivedPackets uint64         `json:"received_packets"`
	SentBytes       uint64         `json:"sent_bytes"` // of the IPv6 packets
	ReceivedBytes   uint64         `json:"received_bytes"`
	Held            int            `json:"held_packets"`      // packets that wait for a path
	HeardSeconds    float64        `json:"heard_seconds_ago"` // -1: never
	SentSeconds     float64        `json:"sent_seconds_ago"`  // -1: never
	SinceSeconds    float64        `json:"since_seconds"`     // in the list
	Reason          string         `json:"reason,omitempty"`  // why the search has failed
	Cause           Cause          `json:"-"`                 // the same in one word; also of a search that goes on
}

// Peers describes entries, established ones first and strangers last, the most recently listed of each first. It leaves out strangers
// that no packets were exchanged with, and looks at most most entries.
func (l *list) Peers(t time.Time, most int) []Info {
	now := l.table.Stamp(t)
	infos := make([]Info, 0, min(most, l.Len()))
	for i := range l.parts {
		c := &l.parts[i]
		for p := c.newest; p != nil && most > 0; p = p.older {
			most--
			if p.part != strangers || p.sentPackets.Load()+p.receivedPackets.Load() > 0 {
				infos = append(infos, l.info(p, now))
			}
		}
	}
	return infos
}

// Peer describes the entry of an address; ok is false if there is none.
func (l *list) Peer(t time.Time, a netip.Addr) (i Info, ok bool) {
	p := l.table.lookup(keyOf(a))
	if p == nil {
		return i, false
	}
	return l.info(p, l.table.Stamp(t)), true
}

func (l *list) info(p *Peer, now Stamp) Info {
	i := Info{
		Address: p.addr(), State: "idle", Path: "relay",
		SentPackets: p.sentPackets.Load(), ReceivedPackets: p.receivedPackets.Load(),
		SentBytes: p.sentBytes.Load(), ReceivedBytes: p.receivedBytes.Load(),
		HeardSeconds: -1, SentSeconds: -1, SinceSeconds: float64(p.since.age(now)),
	}
	if p.isTeredo() {
		i.Path = "direct"
	}
	if p.trusted() {
		i.Endpoint = p.endpoint().addrPort()
		i.HeardSeconds = secondsSince(p.received.Load(), now)
		if p.path.Load()&pathLocal != 0 {
			i.Path = "local"
		}
	}
	if s := p.search; s != nil {
		i.Held = len(s.held)
	}
	if i.SentPackets > 0 || p.search != nil && p.search.sent+p.search.bubbles.n > 0 {
		i.SentSeconds = secondsSince(p.sent.Load(), now)
	}
	switch {
	case p.valid(now):
		i.State = "trusted"
		if p.search != nil && p.search.tests.oneWay.packet != nil {
			i.Cause = OneWay
		}
	case p.searching():
		i.State = "searching"
		if p.search.refusal != nil {
			i.Cause = Refused
		}
	case p.search != nil && p.search.failed != "" && p.part != strangers:
		i.State, i.Cause = "failed", p.search.failed
	}
	if i.State == "failed" {
		i.Reason = l.explain(i.Cause, i.Address)
	}
	return i
}

// secondsSince is never negative, which would mean never: a worker's clock may be a moment ahead.
func secondsSince(then, now Stamp) float64 { return max(0, time.Duration(now-then).Seconds()) }
