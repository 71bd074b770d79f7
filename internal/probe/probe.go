// Package probe finds out, without an interface and without privileges, which Teredo servers answer from here, what the
// NAT in between does, and whom a Teredo client could reach through it.
//
//	mapping ports ──▶ every server, both addresses: is there one mapping for all, and which ports does the NAT choose?
//	filter ports  ──▶ one server, cone bit 1: does an answer get in from an address that was not sent to?
//	mapping port  ──▶ the mapping of another: does the NAT hairpin?
//
// Everything is asked at once, from UDP ports that are closed afterwards. Package qualify asks, so a server works here exactly
// when it works for the client. The rules do no I/O and read no clock; Run gives them sockets and time.
package probe

import (
	"context"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/mapport"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	mappingPorts = 4 // ports that ask every server
	filterPorts  = 2 // ports, of each server, that ask for an answer from its other address

	grace    = time.Second     // for what may not come: late packets, answers from the other address, hairpinned packets
	patience = 5 * time.Second // more than one timeout of a router solicitation, when the network is known to work
)

// DefaultTimeout is long enough for the three transmissions to a server that does not answer (RFC 4380 §5.2.1).
const DefaultTimeout = 15 * time.Second

// Server is a server to ask.
type Server struct {
	Name      string     // as the user gave it
	Primary   netip.Addr // IPv4
	Secondary netip.Addr // zero: the address after the primary, if anything answers there
	Err       error      // why it has no address
}

// Config says whom to ask, and how.
type Config struct {
	Servers []Server
	// Filter says which IPv4 addresses the servers and the mappings may have.
	Filter teredo.Filter
	// Timeout bounds the probe; 0 means DefaultTimeout.
	Timeout time.Duration
	// Open opens a free UDP port.
	Open func() (Conn, error)
	// Local is the local IPv4 address that packets to a server leave from, zero when not known.
	Local func(server netip.Addr) netip.Addr
	// PortMap has the gateway map a port, and takes the mapping away when ctx ends. Nil: do not try.
	PortMap func(ctx context.Context, r mapport.Request)
	// Progress is told what the probe waits for, whenever that changes. It may be nil.
	Progress func(waitsFor string)
	// Rand fills its argument with random bytes; nil means crypto/rand.
	Rand func([]byte)
}
