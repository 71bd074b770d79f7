package resolve

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxAliases bounds the CNAME records of one lookup, which may form a loop.
const maxAliases = 8

// A TTL below minTTL would make the client ask too often; one above maxTTL is a mistake or an attack.
const (
	minTTL = 5 * time.Second
	maxTTL = 24 * time.Hour
)

// chain follows a name through its aliases (RFC 1034 §3.6.2).
type chain struct {
	name    string // target of the aliases so far, fully qualified
	kind    uint16 // of the records with addresses: A or AAAA
	aliases int
	ttl     time.Duration // the lowest so far
}

func newChain(name string, kind uint16) *chain { return &chain{name: name, kind: kind, ttl: maxTTL} }

// follow follows the aliases in records, and returns the addresses of the last one. It returns none when records has no addresses
// for it, and an error when there are too many aliases. Records of other names are ignored.
func (c *chain) follow(records []dns.RR) ([]netip.Addr, error) {
	for {
		if addrs := c.addresses(records); len(addrs) > 0 {
			return addrs, nil
		}
		if !c.step(records) {
			return nil, nil
		}
		if c.aliases > maxAliases {
			return nil, fmt.Errorf("%w: it is an alias of an alias, more than %d times", ErrFailed, maxAliases)
		}
	}
}

// addresses returns the addresses of the name itself.
func (c *chain) addresses(records []dns.RR) []netip.Addr {
	var addrs []netip.Addr
	for _, record := range records {
		if record.Header().Rrtype != c.kind || !c.owns(record) {
			continue
		}
		if addr, ok := addressIn(record); ok {
			addrs = append(addrs, addr)
			c.expire(record)
		}
	}
	return addrs
}

// addressIn returns the address in an A or AAAA record.
func addressIn(record dns.RR) (netip.Addr, bool) {
	switch r := record.(type) {
	case *dns.A:
		return netip.AddrFromSlice(r.A.To4())
	case *dns.AAAA:
		return netip.AddrFromSlice(r.AAAA.To16())
	}
	return netip.Addr{}, false
}

// step replaces the name by the target of its alias. It reports whether there was one.
func (c *chain) step(records []dns.RR) bool {
	for _, record := range records {
		if alias, ok := record.(*dns.CNAME); ok && c.owns(record) {
			c.name = alias.Target
			c.aliases++
			c.expire(record)
			return true
		}
	}
	return false
}

func (c *chain) owns(record dns.RR) bool {
	header := record.Header()
	return header.Class == dns.ClassINET && strings.EqualFold(header.Name, c.name)
}

// expire lowers the TTL to that of the record. With the top bit set a TTL counts as zero (RFC 2181 §8).
func (c *chain) expire(record dns.RR) {
	seconds := record.Header().Ttl
	if seconds > math.MaxInt32 {
		seconds = 0
	}
	c.ttl = min(c.ttl, time.Duration(seconds)*time.Second)
}

// lifetime returns how long the addresses are valid.
func (c *chain) lifetime() time.Duration { return max(c.ttl, minTTL) }
