// Package portmap asks the gateway of an IPv4 NAT to map one of its UDP ports to this host, by UPnP-IGD (RFC 6081 §5.3.3),
// PCP (RFC 6887) or NAT-PMP (RFC 6886).
//
//	Keeper ──▶ looks for all three at once ──▶ UPnP, else PCP, else NAT-PMP: makes the mapping
//	   ▲                                                                        │
//	   └── renews it after half its lifetime, removes it at the end ◀───────────┘
//
// The search changes nothing at the gateway. Only the chosen protocol makes a mapping, so that no two protocols compete for
// one port.
//
// The gateway is the router toward the server. Nothing is sent to, or accepted from, any other unicast address, whatever an
// answer names. What the gateway can cause is bounded: the time, the number of its answers, and their size. A mapping is
// recorded in a file before it is made, so that the next run can remove it if this one is killed (RFC 6081 §5.3.1).
package portmap

import (
	"context"
	"net/netip"
	"strings"
	"time"
)

// timeouts bound the exchanges with the gateway.
type timeouts struct {
	search  time.Duration // for the protocols that it speaks
	attempt time.Duration // for the search and the mapping
	remove  time.Duration // for the removal of a mapping, which the end of the program waits for
}

func usualTimeouts() timeouts {
	return timeouts{search: 1200 * time.Millisecond, attempt: 3 * time.Second, remove: time.Second}
}

// lifetime is the requested lifetime of a mapping, where the protocol needs one (RFC 6886 §3.3).
const lifetime = 2 * time.Hour

// The names of the protocols, in the status and in the journal.
const (
	nameUPnP   = "upnp"
	namePCP    = "pcp"
	nameNATPMP = "nat-pmp"
)

// Mapping is a UDP port of the gateway whose packets it forwards to this host.
type Mapping struct {
	Protocol string         // its name: upnp, pcp or nat-pmp
	External netip.AddrPort // of the gateway, behind which another NAT may follow
	Lease    time.Duration  // 0: it lasts until it is removed, or the gateway forgets it
}

// protocol is one way to ask for a mapping.
type protocol struct {
	name string
	// find asks whether the gateway speaks the protocol. That changes nothing there.
	find func(ctx context.Context, g gateway) (service, error)
}

// protocols returns the protocols of this package, the preferred one first.
func protocols() []protocol {
	return []protocol{{nameUPnP, findUPnP}, {namePCP, findPCP}, {nameNATPMP, findNATPMP}}
}

// service is a protocol that the gateway speaks.
type service interface {
	// record returns what is needed to remove the mapping that add makes.
	record() record
	// add makes the mapping, or renews it. After a refusal there is no mapping; after any other error there may be one.
	add(ctx context.Context) (Mapping, error)
	// remove removes the mapping of a record that this service, or an earlier one at this gateway, has made.
	remove(ctx context.Context, r record) error
}

// gateway is the NAT and the wanted mapping.
type gateway struct {
	addr     netip.Addr
	internal netip.AddrPort // local address and port that the mapping leads to
	nonce    [12]byte       // shows that a mapping by PCP is ours (RFC 6887 §11.1)
}

// refusal is a gateway's answer that it does not do what was asked.
type refusal struct{ reason string }

func (r refusal) Error() string { return "the gateway refuses: " + r.reason }

// clip bounds what a gateway can write into the log.
func clip(text string) string {
	const most = 120
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}

// isExternal reports whether an address can be the external address of a NAT. It may be private, as another NAT may follow.
func isExternal(a netip.Addr) bool {
	return a.Is4() && a.IsGlobalUnicast() && a.As4()[0] != 0 && a.As4()[0] < 240
}
