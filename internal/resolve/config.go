package resolve

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Limits of resolv.conf(5) on its options.
const (
	maxTimeout  = 30 * time.Second
	maxAttempts = 5
)

// config is the content of resolv.conf(5).
type config struct {
	servers  []string      // "address:port", at least one
	timeout  time.Duration // for one server to answer
	attempts int           // rounds over all servers
	names    *dns.ClientConfig
	dial     Dial // how the servers are reached; nil: as the host reaches others
}

func readConfig(path, port string) (*config, error) {
	file, err := dns.ClientConfigFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: create %s with a line 'nameserver ADDRESS'", ErrNoNameserver, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the name servers: %w", err)
	}
	c := &config{
		timeout:  min(time.Duration(file.Timeout)*time.Second, maxTimeout),
		attempts: min(file.Attempts, maxAttempts),
		names:    file,
	}
	for _, server := range file.Servers {
		if addr, err := netip.ParseAddr(server); err == nil {
			c.servers = append(c.servers, net.JoinHostPort(addr.String(), port))
		}
	}
	if len(c.servers) == 0 {
		return nil, fmt.Errorf("%w: add a line 'nameserver ADDRESS' to %s", ErrNoNameserver, path)
	}
	return c, nil
}

// candidates returns the fully qualified names that name can stand for, according to the search list and the option ndots.
func (c *config) candidates(name string) []string {
	var list []string
	for _, candidate := range c.names.NameList(name) {
		// Some programs write an empty search list as "."; the name alone is in the list anyway.
		candidate = strings.TrimRight(candidate, ".") + "."
		if isHostName(candidate) && !slices.Contains(list, candidate) {
			list = append(list, candidate)
		}
	}
	return list
}
