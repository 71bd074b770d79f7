package kernelpath

import (
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/budget"
	"github.com/teredo-suite/teredo/teredo"
)

// ServerConfig says what the kernel answers for a Teredo server.
type ServerConfig struct {
	Bind    []netip.Addr // addresses of this host: the primary, then the secondary one if there is one
	Public  []netip.Addr // the same as the Internet sees them
	Filter  teredo.Filter
	Secrets map[string]Secret // by client identifier: solicitations must be authentic; nil: every client is served

	// Sources is what is sent at most because of one IPv4 address, with buckets for so many of them. The zero Rate is no bound.
	Rate    budget.Rate
	Sources int
	Started time.Time // from which the budgets count time
}

// Secret is what a server shares with one client, in the form that HMAC-SHA1 needs.
type Secret struct {
	Inner, Outer [5]uint32 // states of SHA-1 after the secret XOR ipad, and XOR opad (RFC 2104 §2)
	Expires      time.Time // from then on the program answers the client; zero: never
}

// ServerCounts count what the kernel has done since it began. Each datagram that it has decided about is in one of them.
type ServerCounts struct {
	Solicitations  uint64 // router solicitations, answered or dropped
	Advertisements uint64 // sent
	ToCone         uint64 // of these, to clients that say that their NAT is a cone NAT
	Bubbles        uint64 // forwarded
	Drops          ServerDrops
}

// ServerDrops count datagrams that the kernel has dropped, by the reasons of package drop.
type ServerDrops struct {
	Solicitation, Destination, NotGlobal, NoSecondAddress, Loop, Budget uint64
}
