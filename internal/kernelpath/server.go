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
	Secrets bool // solicitations must be authentic, which only the program can tell

	// Sources is what is sent at most because of one IPv4 address, with buckets for so many of them. The zero Rate is no bound.
	Rate    budget.Rate
	Sources int
	Started time.Time // from which the budgets count time
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
