package teredonet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// Resolver finds addresses of a name. *net.Resolver is one.
type Resolver interface {
	// LookupNetIP finds IPv6 addresses for the network "ip6", and IPv4 addresses for "ip4".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// ErrOnlyIPv4 is the cause of the error of a name that has IPv4 addresses and no IPv6 address, and of an IPv4 address.
var ErrOnlyIPv4 = errors.New("the host has no IPv6 address, and Teredo reaches only IPv6")

// shortestTry is how long an address of several is tried at least, unless the context ends before.
const shortestTry = 2 * time.Second

// Dial is DialContext without a context.
func (n *Net) Dial(network, address string) (net.Conn, error) {
	return n.DialContext(context.Background(), network, address)
}

// DialContext connects to an address such as "[2001:db8::1]:80" or "www.example.org:http". The network is tcp, tcp6, udp or udp6.
// Several addresses of a name are tried one after the other. It fails with syscall.ENETUNREACH while IPv6 is not usable.
//
// The connections are of a type that also has CloseRead, CloseWrite, SetKeepAlive and the like, as *net.TCPConn has them.
func (n *Net) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	protocol, addrs, err := n.resolve(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	var first error
	for i, remote := range addrs {
		conn, err := n.dialOne(ctx, protocol, remote, len(addrs)-i)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// dialOne connects to one of the addresses that are left to try, among which the time that is left is divided.
func (n *Net) dialOne(ctx context.Context, protocol string, remote netip.AddrPort, left int) (net.Conn, error) {
	if protocol == "udp" {
		return n.stack.DialUDP(remote)
	}
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(shortestTry, time.Until(deadline)/time.Duration(left)))
		defer cancel()
	}
	return n.stack.DialTCP(ctx, remote)
}

// Listen waits for TCP connections at a local address such as ":80"; the network is tcp or tcp6. An address without a host stands
// for the one that the Net has, now or later. Who may connect is for the caller to decide: the whole IPv6 Internet reaches it.
func (n *Net) Listen(network, address string) (net.Listener, error) {
	protocol, local, err := n.local(network, address)
	if err == nil && protocol != "tcp" {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return n.stack.ListenTCP(local)
}

// ListenPacket opens a UDP socket at a local address, as Listen does for TCP; the network is udp or udp6.
func (n *Net) ListenPacket(network, address string) (net.PacketConn, error) {
	protocol, local, err := n.local(network, address)
	if err == nil && protocol != "udp" {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return n.stack.ListenUDP(local)
}

// split takes a network and an address apart.
func split(ctx context.Context, network, address string) (protocol, host string, port uint16, err error) {
	switch network {
	case "tcp", "tcp6", "udp", "udp6":
		protocol = strings.TrimSuffix(network, "6")
	default:
		return "", "", 0, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", 0, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, network, service)
	return protocol, host, uint16(number), err
}

// local is the address to listen at.
func (n *Net) local(network, address string) (protocol string, local netip.AddrPort, err error) {
	protocol, host, port, err := split(context.Background(), network, address)
	switch {
	case err != nil:
		return "", local, err
	case host == "":
		return protocol, netip.AddrPortFrom(netip.IPv6Unspecified(), port), nil
	}
	addr, err := parse(host)
	if err == nil && !addr.IsValid() {
		err = &net.AddrError{Err: "the local address must be an IPv6 address, not a name", Addr: host}
	}
	return protocol, netip.AddrPortFrom(addr, port), err
}

// parse returns the address that a host is given by, zero for a name.
func parse(host string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return netip.Addr{}, nil
	case addr.Zone() != "":
		return addr, &net.AddrError{Err: "an address with a zone is not reachable by Teredo", Addr: host}
	case !addr.Is6() || addr.Is4In6():
		return addr, fmt.Errorf("%s: %w", host, ErrOnlyIPv4)
	}
	return addr, nil
}

// resolve finds the addresses to connect to.
func (n *Net) resolve(ctx context.Context, network, address string) (protocol string, remotes []netip.AddrPort, err error) {
	protocol, host, port, err := split(ctx, network, address)
	if err != nil {
		return "", nil, err
	}
	select {
	case <-n.done:
		return "", nil, net.ErrClosed
	default:
	}
	if !n.Addr().IsValid() {
		return "", nil, syscall.ENETUNREACH
	}
	addr, err := parse(host)
	if err != nil {
		return "", nil, err
	}
	addrs := []netip.Addr{addr}
	if !addr.IsValid() {
		if addrs, err = n.lookup(ctx, host); err != nil {
			return "", nil, err
		}
	}
	for _, a := range addrs {
		remotes = append(remotes, netip.AddrPortFrom(a, port))
	}
	return protocol, remotes, nil
}

// lookup finds the IPv6 addresses of a name.
func (n *Net) lookup(ctx context.Context, host string) (addrs []netip.Addr, err error) {
	found, err := n.resolver.LookupNetIP(ctx, "ip6", host)
	for _, a := range found {
		if a.Is6() && !a.Is4In6() {
			addrs = append(addrs, a.WithZone(""))
		}
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	if old, err4 := n.resolver.LookupNetIP(ctx, "ip4", host); err4 == nil && len(old) > 0 {
		return nil, fmt.Errorf("%s: %w", host, ErrOnlyIPv4)
	}
	if err == nil {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return nil, err
}
