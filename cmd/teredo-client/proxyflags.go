//go:build !small

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/proxy"
	"github.com/teredo-suite/teredo/teredo"
)

type proxyCommand struct {
	SOCKS       []localAddress   `name:"socks" placeholder:"ADDRESS:PORT" help:"Serve SOCKS5 here, such as 127.0.0.1:1080: TCP and UDP. A port alone is one of 127.0.0.1. Repeat the flag for several."`
	HTTP        []localAddress   `name:"http" placeholder:"ADDRESS:PORT" help:"Serve an HTTP proxy here, such as 127.0.0.1:8080: CONNECT, and whole http URLs. Repeat the flag for several."`
	Forward     []forwardFlag    `placeholder:"LOCAL=[IPv6]:PORT" help:"Connect a local address, or port of 127.0.0.1, with an IPv6 service: 8080=[2001:db8::1]:80; udp:5353=[2001:db8::1]:53 for UDP. Repeat the flag for several."`
	Publish     []publishFlag    `placeholder:"PORT=HOST:PORT" help:"Let the IPv6 Internet reach a service, of IPv4 or IPv6, at this port of the Teredo address: 80=127.0.0.1:8080; udp:53=127.0.0.1:53 for UDP. Repeat the flag for several."`
	PublishFrom cli.IPv6Prefixes `placeholder:"CIDR,…" help:"Only these IPv6 ranges may use what --publish publishes. By default everybody may."`

	Resolver resolverAddress `placeholder:"IPv6" help:"Look up the names that clients ask for at this name server, which is reached through Teredo, such as [2001:db8::53]:53. By default the system's resolver is asked."`

	ProxyPasswordFile  string `placeholder:"FILE" help:"File with lines 'user password', mode 600: only these users may use SOCKS and HTTP. SIGHUP makes the program read it again."`
	AllowRemoteClients bool   `help:"Serve other hosts, too: allow addresses that are not of the loopback interface for --forward, and for --socks and --http without --proxy-password-file. Every host that reaches them can use this host's IPv6."`
	clientFlags
}

// Help is the detailed help of the proxy command.
func (proxyCommand) Help() string {
	return `The proxy needs no privilege, and no interface: its IPv6 is in the program itself. At least one of --socks, --http, --forward
and --publish is needed. 'teredo-client status', 'peers' and 'bugreport' of the same user find it.

Clients reach global IPv6 addresses, and Teredo addresses whose IPv4 addresses are global. They never reach this host, its
private networks, or others by tunnels and translators. --permit-ipv6 and --permit-ipv4 open special-use ranges.

The control socket is proxy.sock in $XDG_RUNTIME_DIR/teredo-client, or in teredo-client-UID among the temporary files. What the
next run finds is in $XDG_STATE_HOME/teredo-client or ~/.local/state/teredo-client; with --control it is beside the socket.

Examples:

    ${name} proxy --server teredo.example.net --socks 127.0.0.1:1080
    curl --proxy socks5h://127.0.0.1:1080 http://ipv6.example.net/
    ${name} proxy --server teredo.example.net --forward 2222=[2001:db8::1]:22
    ${name} proxy --server teredo.example.net --publish 80=127.0.0.1:8080 --publish-from 2001:db8::/32
    ${name} proxy --config ~/.config/teredo/proxy.toml`
}

// Check finds what is wrong with the flags, as far as that shows without the network.
func (c *proxyCommand) Check() error {
	if len(c.SOCKS)+len(c.HTTP)+len(c.Forward)+len(c.Publish) == 0 {
		return errors.New("nothing to serve: give at least one of --socks, --http, --forward and --publish, such as --socks 127.0.0.1:1080")
	}
	if len(c.PublishFrom) > 0 && len(c.Publish) == 0 {
		return errors.New("--publish-from is of no use without --publish")
	}
	for n, f := range c.Publish {
		if slices.ContainsFunc(c.Publish[:n], func(o publishFlag) bool { return o.UDP == f.UDP && o.Port == f.Port }) {
			return fmt.Errorf("--publish %v: port %d has a service already: choose another port", f, f.Port)
		}
	}
	if c.ProxyPasswordFile != "" && len(c.SOCKS)+len(c.HTTP) == 0 {
		return errors.New("--proxy-password-file is for --socks and --http, and none is given")
	}
	if err := c.checkLocal(); err != nil {
		return err
	}
	filter := teredo.Filter{Permit: c.permitted()}
	for _, f := range c.Forward {
		if to := f.Target.Addr(); !filter.Reachable(to) {
			return fmt.Errorf("--forward %v: %v is not a global IPv6 address that the proxy may connect to: --permit-ipv6, or --permit-ipv4 for the "+
				"addresses in a Teredo address, open special-use ranges", f, to)
		}
	}
	return c.clientFlags.check()
}

// checkLocal refuses to serve other hosts unless that is meant.
func (c *proxyCommand) checkLocal() error {
	if c.AllowRemoteClients {
		return nil
	}
	for flag, all := range map[string][]localAddress{"--socks": c.SOCKS, "--http": c.HTTP} {
		for _, a := range all {
			if !a.Addr().IsLoopback() && c.ProxyPasswordFile == "" {
				return fmt.Errorf("%s %v: other hosts reach this address, and could use this host's IPv6: give --proxy-password-file, use a loopback "+
					"address such as 127.0.0.1, or allow it with --allow-remote-clients", flag, a)
			}
		}
	}
	for _, f := range c.Forward {
		if !f.Local.Addr().IsLoopback() {
			return fmt.Errorf("--forward %v: other hosts reach %v, and could use this host's IPv6: use a loopback address such as 127.0.0.1, or "+
				"allow it with --allow-remote-clients", f, f.Local)
		}
	}
	return nil
}

// localAddress is a flag that holds a local address and port.
type localAddress struct{ netip.AddrPort }

// UnmarshalText parses an address and port, or a port.
func (a *localAddress) UnmarshalText(text []byte) (err error) {
	a.AddrPort, err = parseLocal(string(text))
	return err
}

func parseLocal(text string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = "127.0.0.1", text
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	addr, err := netip.ParseAddr(host)
	number, wrong := strconv.ParseUint(port, 10, 16)
	if err != nil || wrong != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address and port, such as 127.0.0.1:1080", text)
	}
	return netip.AddrPortFrom(addr, uint16(number)), nil
}

// forwardFlag is a flag that holds a forward.
type forwardFlag struct{ proxy.ForwardTo }

// String has the form that UnmarshalText parses.
func (f forwardFlag) String() string {
	return protocol(f.UDP) + fmt.Sprintf("%v=%v", f.Local, f.Target)
}

// UnmarshalText parses [udp:]LOCAL=[IPv6]:PORT.
func (f *forwardFlag) UnmarshalText(text []byte) (err error) {
	var local, target string
	if f.UDP, local, target, err = splitForward(string(text)); err != nil {
		return fmt.Errorf("%q is not a forward: %w, such as 8080=[2001:db8::1]:80 or udp:5353=[2001:db8::1]:53", text, err)
	}
	if f.Local, err = parseLocal(local); err != nil {
		return fmt.Errorf("the local part of %q: %w", text, err)
	}
	f.Target, err = netip.ParseAddrPort(target)
	switch {
	case err != nil:
		return fmt.Errorf("the target of %q is not an IPv6 address and port, such as [2001:db8::1]:80", text)
	case !f.Target.Addr().Is6() || f.Target.Addr().Is4In6() || f.Target.Addr().Zone() != "" || f.Target.Port() == 0:
		return fmt.Errorf("the target of %q must be a global IPv6 address and a port, such as [2001:db8::1]:80", text)
	}
	return nil
}

// publishFlag is a flag that holds a published service.
type publishFlag struct{ proxy.Service }

// String has the form that UnmarshalText parses.
func (f publishFlag) String() string { return protocol(f.UDP) + fmt.Sprintf("%d=%s", f.Port, f.Host) }

// UnmarshalText parses [udp:]PORT=HOST:PORT.
func (f *publishFlag) UnmarshalText(text []byte) (err error) {
	var port string
	if f.UDP, port, f.Host, err = splitForward(string(text)); err != nil {
		return fmt.Errorf("%q is not a service to publish: %w, such as 80=127.0.0.1:8080 or udp:53=127.0.0.1:53", text, err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return fmt.Errorf("%q in %q is not a port: write the port of the IPv6 address alone, such as 80=127.0.0.1:8080", port, text)
	}
	f.Port = uint16(number)
	host, inside, err := net.SplitHostPort(f.Host)
	if n, wrong := strconv.ParseUint(inside, 10, 16); err != nil || host == "" || wrong != nil || n == 0 {
		return fmt.Errorf("the service in %q is not an address or name, and a port, such as 127.0.0.1:8080", text)
	}
	return nil
}

// protocol is what stands before a forward or service.
func protocol(udp bool) string {
	if udp {
		return "udp:"
	}
	return ""
}

// splitForward takes [tcp:|udp:]FROM=TO apart.
func splitForward(text string) (udp bool, from, to string, err error) {
	text = strings.TrimPrefix(text, "tcp:")
	text, udp = strings.CutPrefix(text, "udp:")
	from, to, ok := strings.Cut(text, "=")
	if !ok || from == "" || to == "" {
		return false, "", "", errors.New("write FROM=TO")
	}
	return udp, from, to, nil
}

// resolverAddress is a flag that holds the address of a name server. The zero value (not IsValid) means that it was not given.
type resolverAddress struct{ netip.AddrPort }

// UnmarshalText parses an IPv6 address with or without a port.
func (a *resolverAddress) UnmarshalText(text []byte) error {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(string(text), "["), "]"))
	a.AddrPort = netip.AddrPortFrom(addr, 53)
	if err != nil {
		a.AddrPort, err = netip.ParseAddrPort(string(text))
	}
	if err != nil || !a.Addr().Is6() || a.Addr().Is4In6() {
		return fmt.Errorf("%q is not the IPv6 address of a name server, such as 2001:db8::53 or [2001:db8::53]:53", text)
	}
	return nil
}
