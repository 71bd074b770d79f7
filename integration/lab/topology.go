//go:build linux

package lab

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
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

// link connects a host with its router. Addresses are prefixes, separated by spaces.
type link struct{ router, host, routerAddrs, hostAddrs string }

// links lays out the internet. A host's default routes lead to its router's addresses.
var links = []link{
	{"inet", "server", "192.0.2.254/24 2001:db8:1::ff/64", ServerAddr + "/24 " + ServerAddr2 + "/24 2001:db8:1::1/64"},
	{"inet", "relay", "198.51.100.254/24 2001:db8:2::ff/64", RelayAddr + "/24 2001:db8:2::1/64"},
	{"inet", "native", "2001:db8:6::ff/64", NativeAddr + "/64"},
	{"inet", "nat1", "203.0.113.126/25", NAT1Addr + "/25"},
	{"inet", "nat2", "203.0.113.254/25", NAT2Addr + "/25"},
	{"nat1", "client1", "192.168.1.1/24", "192.168.1.2/24"},
	{"nat2", "client2", "192.168.2.1/24", "192.168.2.2/24"},
}

// routes are those that do not follow from links.
var routes = []struct{ host, route string }{
	{"inet", "2001::/32 via 2001:db8:2::1"},
}

// settings are the kernel settings of each host; "*" means all hosts.
var settings = []struct{ host, path, value string }{
	{"*", "net/ipv6/conf/default/accept_dad", "0"},
	{"*", "net/ipv6/conf/default/accept_ra", "0"},
	{"inet", "net/ipv4/ip_forward", "1"},
	{"inet", "net/ipv6/conf/all/forwarding", "1"},
	{"relay", "net/ipv6/conf/all/forwarding", "1"},
	{"nat1", "net/ipv4/ip_forward", "1"},
	{"nat2", "net/ipv4/ip_forward", "1"},
}

// hostNames lists the routers and hosts of links, each once.
func hostNames() []string {
	names := []string{"inet"}
	for _, l := range links {
		names = append(names, l.host)
	}
	return names
}

// build creates namespaces, links, addresses and routes.
func (l *Lab) build() error {
	if err := l.addNamespaces(); err != nil {
		return err
	}
	for _, s := range settings {
		for name, h := range l.hosts {
			if s.host != name && s.host != "*" {
				continue
			}
			if err := h.Do(func() error {
				return os.WriteFile(filepath.Join("/proc/sys", s.path), []byte(s.value), 0o644)
			}); err != nil {
				return fmt.Errorf("set %s on %s: %w", s.path, name, err)
			}
		}
	}
	if err := l.addLinks(); err != nil {
		return err
	}
	return l.configureHosts()
}

func (l *Lab) addNamespaces() error {
	var batch bytes.Buffer
	for _, name := range hostNames() {
		fmt.Fprintf(&batch, "netns add %s\n", l.namespace(name))
	}
	if err := ip(batch.String(), "-batch", "-"); err != nil {
		return err
	}
	for _, name := range hostNames() {
		ns, err := os.Open(filepath.Join(namespaceFolder, l.namespace(name)))
		if err != nil {
			return fmt.Errorf("open the namespace of %s: %w", name, err)
		}
		l.hosts[name] = &Host{Name: name, lab: l, ns: ns}
	}
	return nil
}

func (l *Lab) addLinks() error {
	var batch bytes.Buffer
	for _, k := range links {
		fmt.Fprintf(&batch, "link add %s netns %s type veth peer name %s netns %s\n",
			uplink, l.namespace(k.host), k.host, l.namespace(k.router))
	}
	return ip(batch.String(), "-batch", "-")
}

func (l *Lab) configureHosts() error {
	commands := make(map[string]*strings.Builder)
	for _, name := range hostNames() {
		commands[name] = new(strings.Builder)
		commands[name].WriteString("link set lo up\n")
	}
	for _, k := range links {
		configureLink(commands[k.router], commands[k.host], k)
	}
	for _, r := range routes {
		fmt.Fprintf(commands[r.host], "route add %s\n", r.route)
	}
	for name, batch := range commands {
		if err := ip(batch.String(), "-n", l.namespace(name), "-batch", "-"); err != nil {
			return fmt.Errorf("configure %s: %w", name, err)
		}
	}
	return nil
}

// configureLink writes the commands for both ends of a link.
func configureLink(router, host *strings.Builder, k link) {
	configureInterface(router, k.host, k.routerAddrs)
	configureInterface(host, uplink, k.hostAddrs)
	for _, a := range strings.Fields(k.routerAddrs) {
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
