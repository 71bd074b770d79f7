// Package drop names every reason for which a packet is not carried on, and counts them.
// The reason's name is the label that status output shows.
package drop

import "sync/atomic"

// Reason says why a packet was dropped.
type Reason uint8

const (
	None            Reason = iota // not dropped
	Malformed                     // the UDP payload is not a well-formed Teredo packet (W-ENC-02)
	Trailers                      // more trailing bytes than trailers can need, or a trailer that demands a drop
	NotIPv6                       // a packet from the TUN device that is not well-formed IPv6
	Source                        // inner source address may not be used by this sender
	Destination                   // inner destination is not ours to deliver or forward
	Scope                         // neither native nor Teredo: link-local, multicast, special use
	NotGlobal                     // an IPv4 address that fails the global unicast test (SEC-V4-03)
	NotAllowed                    // neither a bubble nor an ICMPv6 message the server carries (S-RX-02)
	Unauthenticated               // authentication absent or wrong
	Advertisement                 // a router advertisement that was refused
	Solicitation                  // a router solicitation that was refused
	NoSecondAddress               // a cone solicitation, and no other address to answer from (S-RS-03)
	Loop                          // would go back to one of our own endpoints (S-FWD-08)
	HopLimit                      // the IPv6 hop limit ran out
	UnknownPeer                   // from a peer we have not sent to, or whose path is not the learned one
	Untested                      // the connectivity test of its source failed (C-RX-15)
	NotQualified                  // no Teredo address at the moment
	NoPath                        // the bubbles or the connectivity test went unanswered
	QueueFull                     // the peer's queue, or all queues together, are full
	TableFull                     // no room for one more new peer
	Overload                      // more came than the slow path takes
	TooBig                        // larger than any Teredo link carries, and not on a known path (K-15)
	SendFailed                    // the kernel refused to send
	NoRoute                       // no native IPv6 route, or the native send was refused
	DeliverFailed                 // the TUN device refused the packet
	KernelPath                    // the kernel, which carries the flow, had no memory for the headers
	Budget                        // whoever caused it has had as much as it gets for now
	reasons
)

// String returns the label of the reason.
func (r Reason) String() string {
	names := [reasons]string{
		None: "none", Malformed: "malformed", Trailers: "trailers", NotIPv6: "not-ipv6", Source: "source",
		Destination: "destination", Scope: "scope", NotGlobal: "not-global", NotAllowed: "not-allowed",
		Unauthenticated: "unauthenticated", Advertisement: "advertisement", Solicitation: "solicitation",
		NoSecondAddress: "no-second-address",
		Loop:            "loop", HopLimit: "hop-limit", UnknownPeer: "unknown-peer", Untested: "untested", NotQualified: "not-qualified",
		NoPath: "no-path", QueueFull: "queue-full", TableFull: "table-full", Overload: "overload", TooBig: "too-big",
		SendFailed: "send-failed", NoRoute: "no-route", DeliverFailed: "deliver-failed",
		KernelPath: "kernel-path", Budget: "budget",
	}
	if r >= reasons {
		return "unknown"
	}
	return names[r]
}

// Counters counts drops by reason. The zero value is ready; it is safe for concurrent use.
type Counters struct {
	n [reasons]atomic.Uint64
}

// Count adds one drop for the reason.
func (c *Counters) Count(r Reason) { c.n[r].Add(1) }

// Add adds n drops for the reason.
func (c *Counters) Add(r Reason, n uint64) { c.n[r].Add(n) }

// Get returns the count for the reason.
func (c *Counters) Get(r Reason) uint64 { return c.n[r].Load() }

// Snapshot returns the counts that are not zero, by label.
func (c *Counters) Snapshot() map[string]uint64 { return Sum(c) }

// Sum returns the sums of several counters that are not zero, by label.
func Sum(counters ...*Counters) map[string]uint64 {
	m := make(map[string]uint64)
	for r := None + 1; r < reasons; r++ {
		sum := uint64(0)
		for _, c := range counters {
			sum += c.n[r].Load()
		}
		if sum > 0 {
			m[r.String()] = sum
		}
	}
	return m
}
