// Package portmap has the gateway of an IPv4 NAT map one of its UDP ports to this host, by UPnP-IGD (RFC 6081 §5.3.3),
// PCP (RFC 6887) or NAT-PMP (RFC 6886).
//
//	Keeper ──▶ asks for all three at once ──▶ UPnP, else PCP, else NAT-PMP: makes the mapping
//	   ▲                                                                        │
//	   └── renews it at half its time, removes it at the end ◀──────────────────┘
//
// Asking leaves nothing behind at the gateway; only the protocol that is chosen then makes a mapping, so that no two
// protocols fight for one port.
//
// The gateway is the router toward the server, and nothing is sent to, or taken from, any other unicast address, whatever
// an answer names. Everything that it does is bounded: the time, the number of its answers, and their size. A mapping is
// written to a file before it is made, so that the next run can remove what a killed one left behind (X-UPNP-01).
package portmap

import (
	"context"
	"net/netip"
	"strings"
	"time"
)

// timeouts bound what the gateway is given time for.
type timeouts struct {
	search  time.Duration // which protocols does it speak?
	attempt time.Duration // from that question to the mapping
	remove  time.Duration // of a mapping; at the end the program waits for it
}

func usualTimeouts() timeouts {
	return timeouts{search: 1200 * time.Millisecond, attempt: 3 * time.Second, remove: time.Second}
}

// lifetime is the lease that is asked for where a lease is needed (RFC 6886 §3.3).
const lifetime = 2 * time.Hour

// The names of the protocols, in the status and in the ledger.
const (
	nameUPnP   = "upnp"
	namePCP    = "pcp"
	nameNATPMP = "nat-pmp"
)

// Mapping is a UDP port of the gateway whose packets it hands to us.
type Mapping struct {
	Protocol string         // its name: upnp, pcp or nat-pmp
	External netip.AddrPort // on the far side of the gateway, where another NAT may follow
	Lease    time.Duration  // 0: it lasts until it is removed, or the gateway forgets it
}

// protocol is one way to ask for a mapping.
type protocol struct {
	name string
	// find asks whether the gateway speaks it, which changes nothing there.
	find func(ctx context.Context, g gateway) (service, error)
}

// protocols are those that we speak, the preferred one first.
func protocols() []protocol {
	return []protocol{{nameUPnP, findUPnP}, {namePCP, findPCP}, {nameNATPMP, findNATPMP}}
}

// service is a protocol that the gateway speaks.
type service interface {
	// record is what it takes to remove the mapping that add makes.
	record() record
	// add makes the mapping, or renews it. A refusal as error says that there is none; after any other there may be one.
	add(ctx context.Context) (Mapping, error)
	// remove removes the mapping of a record that this service, or an earlier one at this gateway, has made.
	remove(ctx context.Context, r record) error
}

// gateway is the NAT that is asked, and what for.
type gateway struct {
	addr     netip.Addr
	internal netip.AddrPort // local address and port that the mapping leads to
	nonce    [12]byte       // shows that a mapping by PCP is ours (RFC 6887 §11.1)
}

// refusal is a gateway's answer that it does not do what was asked.
type refusal struct{ reason string }

func (r refusal) Error() string { return "the gateway refuses: " + r.reason }

// clip bounds what the gateway has us write to the log.
func clip(text string) string {
	const most = 120
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}

// isExternal reports whether an address can be one of the far side of a NAT. It may be private, as another NAT may follow.
func isExternal(a netip.Addr) bool {
	return a.Is4() && a.IsGlobalUnicast() && a.As4()[0] != 0 && a.As4()[0] < 240
}
