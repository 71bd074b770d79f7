package natsim

import (
	"fmt"
	"slices"
	"time"
)

// Event is what happens to a packet at a hop.
type Event uint8

const (
	Sent      Event = iota // by a host
	Forwarded              // by a NAT, with its addresses translated
	Received               // by a host
	Dropped
)

func (e Event) String() string {
	switch e {
	case Sent:
		return "sent"
	case Forwarded:
		return "forwarded"
	case Received:
		return "received"
	}
	return "dropped"
}

// Record is one packet at one hop.
type Record struct {
	At     time.Duration // since the scenario began
	Hop    string        // the host or NAT
	Event  Event
	Why    string // of Dropped
	Packet Packet
}

func (r Record) String() string {
	s := fmt.Sprintf("%12v  %-9s %-9s #%d %v", r.At, r.Hop, r.Event, r.Packet.ID, r.Packet)
	if r.Why != "" {
		s += ": " + r.Why
	}
	return s
}

// trace is what happened so far.
type trace struct {
	started time.Time
	records []Record
}

func (t *trace) add(hop string, event Event, why string, p Packet) {
	t.records = append(t.records, Record{At: time.Since(t.started), Hop: hop, Event: event, Why: why, Packet: p})
}

// Trace returns what happened so far to every packet at every hop, in order.
func (in *Internet) Trace() (records []Record) {
	in.do(func() { records = slices.Clone(in.trace.records) })
	return records
}

// Sent returns the packets that hosts have sent and that match, each once.
func (in *Internet) Sent(matches func(Packet) bool) (records []Record) {
	for _, r := range in.Trace() {
		if r.Event == Sent && matches(r.Packet) {
			records = append(records, r)
		}
	}
	return records
}
