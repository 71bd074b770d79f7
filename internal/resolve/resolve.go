// Package resolve looks up the IPv4 addresses of a server and their time to live.
//
// The system's resolver does not tell the time to live, so this package asks the name servers of resolv.conf(5) itself.
// It reads that file and hosts(5) for each lookup, because a laptop's network changes while the client runs. Windows and macOS
// have their name servers elsewhere, so there the system's resolver is asked.
package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Errors that those of Lookup wrap. ErrBadName and ErrIPv6 stay until the name is changed; the others may be temporary.
var (
	ErrBadName      = errors.New("neither a host name nor an IPv4 address")
	ErrIPv6         = errors.New("an IPv6 address, but Teredo servers are reached over IPv4: give an IPv4 address or a name")
	ErrNotFound     = errors.New("the name does not exist")
	ErrNoIPv4       = errors.New("the name has no IPv4 address")
	ErrNoAnswer     = errors.New("no name server answered (is the network up?)")
	ErrFailed       = errors.New("the name servers could not resolve the name")
	ErrNoNameserver = errors.New("no nameserver is configured")
)

const (
	confPath  = "/etc/resolv.conf"
	hostsPath = "/etc/hosts"
)

// Files returns the files that the zero Resolver reads for each lookup.
func Files() []string { return []string{confPath, hostsPath} }

// Resolver looks names up. The zero value reads /etc/resolv.conf and /etc/hosts. It is safe for concurrent use.
type Resolver struct {
	ConfPath  string // name servers and options, "" for /etc/resolv.conf
	HostsPath string // names that need no name server, "" for /etc/hosts

	port string // of the name servers, "" for 53: resolv.conf(5) cannot name another, tests must
}

// Lookup returns the IPv4 addresses of name, at least one, in the order of the answer, and the lowest TTL of the answer, limited to
// 5 seconds to a day. TTL 0 means that they never expire: name is an IPv4 address, or is in the hosts file. Names without enough
// dots are completed by the search list of resolv.conf(5). The error says in one sentence why there are no addresses; it wraps one
// of the Err… values, the error of ctx, or that of a file that cannot be read.
func (r *Resolver) Lookup(ctx context.Context, name string) (addrs []netip.Addr, ttl time.Duration, err error) {
	if addrs, ttl, err = r.lookup(ctx, name); err != nil {
		return nil, 0, fmt.Errorf("look up %q: %w", name, err)
	}
	return addrs, ttl, nil
}

func (r *Resolver) lookup(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	if err := Check(name); err != nil {
		return nil, 0, err
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{addr}, 0, nil
	}
	if r.ConfPath == "" && (runtime.GOOS == "windows" || runtime.GOOS == "darwin") {
		return lookupSystem(ctx, net.DefaultResolver, name)
	}
	addrs, err := lookupHosts(cmp.Or(r.HostsPath, hostsPath), name)
	if err != nil || len(addrs) > 0 {
		return addrs, 0, err
	}
	conf, err := readConfig(cmp.Or(r.ConfPath, confPath), cmp.Or(r.port, "53"))
	if err != nil {
		return nil, 0, err
	}
	return conf.search(ctx, name)
}

// Check returns an error when name is neither a host name nor an IPv4 address. The error wraps ErrBadName or ErrIPv6, and says
// what to write instead.
func Check(name string) error {
	if possible(name) {
		return nil
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return ErrIPv6
	}
	if host, ok := hostIn(name); ok {
		return fmt.Errorf("%w: name the host alone, %s", ErrBadName, host)
	}
	return fmt.Errorf("%w: write one such as teredo.example.net or 192.0.2.1", ErrBadName)
}

// possible reports whether name is an IPv4 address or can be a host name.
func possible(name string) bool {
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Is4() || err != nil && isHostName(name)
}

// hostIn returns the host in a URL, or before a port or path.
func hostIn(name string) (host string, ok bool) {
	if !strings.Contains(name, "://") {
		name = "//" + name
	}
	u, err := url.Parse(name)
	if err != nil || !possible(u.Hostname()) {
		return "", false
	}
	return u.Hostname(), true
}

// search resolves the first existing one of the names that name can stand for.
func (c *config) search(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	result := ErrNotFound
	for _, candidate := range c.candidates(name) {
		addrs, ttl, err := c.resolve(ctx, candidate, dns.TypeA)
		switch {
		case err == nil:
			return addrs, ttl, nil
		case errors.Is(err, ErrFailed): // this name may exist, so the result of a later one does not replace it
			result = err
		case errors.Is(err, ErrNoIPv4):
			if errors.Is(result, ErrNotFound) {
				result = err
			}
		case errors.Is(err, ErrNotFound):
		default: // the other names would fail, too
			return nil, 0, err
		}
	}
	return nil, 0, result
}

// resolve finds the addresses of one fully qualified name. Where an answer ends at an alias, it asks for the alias's target.
func (c *config) resolve(ctx context.Context, name string, kind uint16) ([]netip.Addr, time.Duration, error) {
	at := newChain(name, kind)
	for {
		asked := at.name
		records, err := c.ask(ctx, asked, kind)
		if err != nil {
			return nil, 0, err
		}
		addrs, err := at.follow(records)
		switch {
		case err != nil:
			return nil, 0, err
		case len(addrs) > 0:
			return addrs, at.lifetime(), nil
		case at.name == asked:
			return nil, 0, noAddress(kind)
		}
	}
}

// noAddress is the error of a name that exists without an address of a kind.
func noAddress(kind uint16) error {
	if kind == dns.TypeAAAA {
		return errNoIPv6
	}
	return ErrNoIPv4
}

// isHostName reports whether name consists of letters, digits, hyphens (RFC 1123 §2.1) and underscores, in labels of
// 1 to 63 bytes. The last label is not a number (RFC 3696 §2): "192.0.2.300" is a mistyped address.
func isHostName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if len(label) == 0 || len(label) > 63 || strings.ContainsFunc(label, isForeign) {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

func isForeign(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
		return false
	}
	return true
}
