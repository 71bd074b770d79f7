//go:build linux

package lab

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The addresses that tests and the demo name.
const (
	ServerAddr  = "192.0.2.1"
	ServerAddr2 = "192.0.2.2"
	RelayAddr   = "198.51.100.1"
	NAT1Addr    = "203.0.113.1"
	NAT2Addr    = "203.0.113.129"
	NativeAddr  = "2001:db8:6::1"

	// PublicRanges are the documentation ranges that stand for public IPv4 here (--permit-ipv4).
	PublicRanges = "192.0.2.0/24,198.51.100.0/24,203.0.113.0/24"
)

// uplink is the name that every host has for the interface toward its router.
// A router's interface is named after the host at the other end.
const uplink = "uplink"

// Layout is what a lab consists of. Every router and host is named by a link.
type Layout struct {
	Links    []Link
	Routes   []Route
	Settings []Setting
	NATs     []Translator
}

// Link connects a host with its router. Addresses are prefixes, separated by spaces. The host's default routes lead to the
// router's addresses.
type Link struct{ Router, Host, RouterAddrs, HostAddrs string }

// Route is a route of a host that does not follow from the links, in the words of the ip command.
type Route struct{ Host, Route string }

// Setting is a kernel setting of a host; "*" means all hosts.
type Setting struct{ Host, Path, Value string }

// Translator makes a router a NAT for the client behind it that has an IPv4 address.
type Translator struct {
	Host   string
	Kind   NAT
	Client string
}

// drawing is the internet of New.
var drawing = Layout{Links: []Link{
	{"inet", "server", "192.0.2.254/24 2001:db8:1::ff/64", ServerAddr + "/24 " + ServerAddr2 + "/24 2001:db8:1::1/64"},
	{"inet", "relay", "198.51.100.254/24 2001:db8:2::ff/64", RelayAddr + "/24 2001:db8:2::1/64"},
	{"inet", "native", "2001:db8:6::ff/64", NativeAddr + "/64"},
	{"inet", "nat1", "203.0.113.126/25", NAT1Addr + "/25"},
	{"inet", "nat2", "203.0.113.254/25", NAT2Addr + "/25"},
	{"nat1", "client1", "192.168.1.1/24", "192.168.1.2/24"},
	{"nat2", "client2", "192.168.2.1/24", "192.168.2.2/24"},
}, Routes: []Route{
	{"inet", "2001::/32 via 2001:db8:2::1"},
}, Settings: []Setting{
	{"*", "net/ipv6/conf/default/accept_dad", "0"},
	{"*", "net/ipv6/conf/default/accept_ra", "0"},
	{"inet", "net/ipv4/ip_forward", "1"},
	{"inet", "net/ipv6/conf/all/forwarding", "1"},
	{"relay", "net/ipv6/conf/all/forwarding", "1"},
	{"nat1", "net/ipv4/ip_forward", "1"},
	{"nat2", "net/ipv4/ip_forward", "1"},
}}

// hostNames lists the routers and hosts of the links, each once.
func (y Layout) hostNames() (names []string) {
	for _, k := range y.Links {
		for _, name := range []string{k.Router, k.Host} {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// build creates namespaces, links, addresses, routes and NATs.
func (l *Lab) build(y Layout) error {
	if err := l.addNamespaces(y.hostNames()); err != nil {
		return err
	}
	for _, s := range y.Settings {
		for name, h := range l.hosts {
			if s.Host != name && s.Host != "*" {
				continue
			}
			if err := h.Do(func() error {
				return os.WriteFile(filepath.Join("/proc/sys", s.Path), []byte(s.Value), 0o644)
			}); err != nil {
				return fmt.Errorf("set %s on %s: %w", s.Path, name, err)
			}
		}
	}
	if err := l.addLinks(y.Links); err != nil {
		return err
	}
	if err := l.configureHosts(y); err != nil {
		return err
	}
	for _, n := range y.NATs {
		if err := l.addNAT(n.Host, n.Kind, n.Client); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) addNamespaces(names []string) error {
	var batch bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&batch, "netns add %s\n", l.namespace(name))
	}
	if err := ip(batch.String(), "-batch", "-"); err != nil {
		return err
	}
	for _, name := range names {
		ns, err := os.Open(filepath.Join(namespaceFolder, l.namespace(name)))
		if err != nil {
			return fmt.Errorf("open the namespace of %s: %w", name, err)
		}
		l.hosts[name] = &Host{Name: name, lab: l, ns: ns}
	}
	return nil
}

func (l *Lab) addLinks(links []Link) error {
	var batch bytes.Buffer
	for _, k := range links {
		fmt.Fprintf(&batch, "link add %s netns %s type veth peer name %s netns %s\n",
			uplink, l.namespace(k.Host), k.Host, l.namespace(k.Router))
	}
	return ip(batch.String(), "-batch", "-")
}

func (l *Lab) configureHosts(y Layout) error {
	commands := make(map[string]*strings.Builder)
	for name := range l.hosts {
		commands[name] = new(strings.Builder)
		commands[name].WriteString("link set lo up\n")
	}
	for _, k := range y.Links {
		configureLink(commands[k.Router], commands[k.Host], k)
	}
	for _, r := range y.Routes {
		fmt.Fprintf(commands[r.Host], "route add %s\n", r.Route)
	}
	for name, batch := range commands {
		if err := ip(batch.String(), "-n", l.namespace(name), "-batch", "-"); err != nil {
			return fmt.Errorf("configure %s: %w", name, err)
		}
	}
	return nil
}

// configureLink writes the commands for both ends of a link.
func configureLink(router, host *strings.Builder, k Link) {
	configureInterface(router, k.Host, k.RouterAddrs)
	configureInterface(host, uplink, k.HostAddrs)
	for _, a := range strings.Fields(k.RouterAddrs) {
		fmt.Fprintf(host, "route add default via %s\n", netip.MustParsePrefix(a).Addr())
	}
}

func configureInterface(batch *strings.Builder, ifname, addrs string) {
	fmt.Fprintf(batch, "link set %s up\n", ifname)
	for _, a := range strings.Fields(addrs) {
		fmt.Fprintf(batch, "address add %s dev %s\n", a, ifname)
	}
}

// ip runs the ip command with input on its standard input.
func ip(input string, args ...string) error {
	return feed(exec.Command("ip", args...), input)
}

// feed runs cmd with input on its standard input. The error holds what the command printed.
func feed(cmd *exec.Cmd, input string) error {
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
