package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

var errNoIPv6 = errors.New("the name has no IPv6 address")

// Dial connects to a name server over "udp" or "tcp".
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// mostKnown bounds the names that a Server remembers.
const mostKnown = 1024

// Server looks names up at one name server, which may be reached in a way of its own, and remembers the answers for as long as they
// are valid. It is safe for concurrent use.
type Server struct {
	conf  config
	mu    sync.Mutex
	known map[string]answer
}

// answer is what a name stands for.
type answer struct {
	addrs []netip.Addr
	until time.Time
}

// NewServer returns a Server that asks the name server at an address, and reaches it by dial.
func NewServer(at netip.AddrPort, dial Dial) *Server {
	return &Server{
		conf:  config{servers: []string{at.String()}, timeout: 5 * time.Second, attempts: 2, dial: dial},
		known: make(map[string]answer),
	}
}

// LookupNetIP returns the IPv6 addresses of a fully qualified name; those of IPv4 if it has no others, and network is not "ip6".
func (s *Server) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	if !isHostName(name) {
		return nil, fmt.Errorf("%w: write one such as www.example.net", ErrBadName)
	}
	fqdn := dns.CanonicalName(name)
	if addrs := s.remembered(fqdn); addrs != nil {
		return addrs, nil
	}
	addrs, ttl, err := s.conf.resolve(ctx, fqdn, dns.TypeAAAA)
	if errors.Is(err, errNoIPv6) && network != "ip6" {
		addrs, _, err = s.conf.resolve(ctx, fqdn, dns.TypeA)
		return addrs, err
	}
	if err == nil {
		s.remember(fqdn, answer{addrs, time.Now().Add(ttl)})
	}
	return addrs, err
}

func (s *Server) remembered(name string) []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.known[name]; time.Now().Before(a.until) {
		return a.addrs
	}
	return nil
}

func (s *Server) remember(name string, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= mostKnown {
		clear(s.known)
	}
	s.known[name] = a
}
