package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Resolver finds the addresses of a name: IPv6 ones, and IPv4 ones for the message that there are no others.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error)
}

const (
	nameTimeout  = 15 * time.Second // for a name to be resolved
	readyTimeout = 10 * time.Second // for IPv6 to be usable
	dialTimeout  = 30 * time.Second // for a target to answer, all its addresses together
	mostTried    = 4                // addresses of one name
)

// dial connects to a host, which is an address or a name. Every address is checked when it is known: a name can have any address,
// and another one at each question.
func (p *Proxy) dial(ctx context.Context, host string, port uint16) (net.Conn, error) {
	if port == 0 {
		return nil, refuse(ReasonTarget, "port 0 is not a port")
	}
	addrs, err := p.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	if err := p.online(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	for n, a := range addrs {
		var conn net.Conn
		if conn, err = p.dialOne(ctx, a, port, len(addrs)-n); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// online waits a moment for IPv6, which a program that has just been started does not have yet.
func (p *Proxy) online(ctx context.Context) error {
	if p.cfg.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := p.cfg.Ready(ctx); err != nil {
		return &refusal{ReasonOffline, err}
	}
	return nil
}

// dialOne connects to an address. It takes its share of the time that is left.
func (p *Proxy) dialOne(ctx context.Context, a netip.Addr, port uint16, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	conn, err := p.network.DialContext(ctx, "tcp6", netip.AddrPortFrom(a, port).String())
	if err != nil && ctx.Err() != nil {
		return nil, &refusal{ReasonTimeout, fmt.Errorf("%v does not answer: %w", a, err)}
	}
	return conn, err
}

// addresses are those of a host that may be connected to, at least one.
func (p *Proxy) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := p.lookUp(ctx, host)
	if err != nil {
		return nil, err
	}
	var open []netip.Addr
	for _, a := range found {
		if a.Zone() == "" && p.cfg.Filter.Reachable(a) {
			open = append(open, a)
		}
	}
	if len(open) == 0 {
		return nil, refuse(ReasonTarget, fmt.Sprintf("%v is not a global IPv6 address that the proxy may connect to", found[0]))
	}
	return open[:min(len(open), mostTried)], nil
}

// lookUp returns the IPv6 addresses of a host, at least one.
func (p *Proxy) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Is4() {
			return nil, refuse(ReasonNoIPv6, fmt.Sprintf("%v is an IPv4 address, and this proxy reaches IPv6 only", a))
		}
		return []netip.Addr{a}, nil
	}
	if !isHostName(host) {
		return nil, refuse(ReasonName, fmt.Sprintf("%q is not a host name", host))
	}
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	found, err := p.cfg.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, &refusal{ReasonName, fmt.Errorf("cannot resolve %s: %w", host, nameError(err))}
	}
	var ipv4 []string
	var ipv6 []netip.Addr
	for _, a := range found {
		switch a = a.Unmap(); {
		case a.Is4():
			ipv4 = append(ipv4, a.String())
		default:
			ipv6 = append(ipv6, a)
		}
	}
	switch {
	case len(ipv6) > 0:
		return ipv6, nil
	case len(ipv4) > 0:
		return nil, refuse(ReasonNoIPv6, fmt.Sprintf("%s has no IPv6 address, only IPv4 %s", host, strings.Join(ipv4, ", ")))
	}
	return nil, refuse(ReasonNoIPv6, host+" has no IPv6 address")
}

// nameError leaves out of a resolver's error what lookUp says itself.
func nameError(err error) error {
	if d, ok := errors.AsType[*net.DNSError](err); ok {
		if d.IsNotFound {
			return errors.New("the name does not exist")
		}
		return errors.New(d.Err)
	}
	return err
}

// isHostName reports whether a resolver can be asked for a name.
func isHostName(name string) bool {
	strange := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/:%"\[]@`, r) }
	return name != "" && len(name) <= 253 && !strings.ContainsFunc(name, strange)
}

// splitHostPort takes HOST:PORT apart. An IPv6 address has brackets.
func splitHostPort(s string) (host string, port uint16, err error) {
	host, digits, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%q is not a port", digits)
	}
	return host, uint16(n), nil
}
