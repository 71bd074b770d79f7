//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// AddHost adds a host behind a router of the drawing. Each side has addresses, prefixes separated by spaces; the host's
// default routes lead to the router's. Routers don't tell each other about the new addresses.
func (l *Lab) AddHost(router, name, routerAddrs, hostAddrs string) (*Host, error) {
	h, err := l.addNamespace(router, name)
	if err != nil {
		return nil, err
	}
	var near, far strings.Builder
	far.WriteString("link set lo up\n")
	configureLink(&near, &far, Link{router, name, routerAddrs, hostAddrs})
	return h, l.configureEnds(router, name, near.String(), far.String())
}

// AddNeighbour adds a host to the LAN of a host behind a router of the drawing: a bridge of the router, with the name "lan",
// takes over the router's address there, which is the gateway of both.
func (l *Lab) AddNeighbour(router, beside, name, gateway, addr string) (*Host, error) {
	h, err := l.addNamespace(router, name)
	if err != nil {
		return nil, err
	}
	var near, far strings.Builder
	near.WriteString("link add lan type bridge\n")
	for _, port := range []string{beside, name} {
		fmt.Fprintf(&near, "address flush dev %s\nlink set %s master lan up\n", port, port)
	}
	configureInterface(&near, "lan", gateway)
	far.WriteString("link set lo up\n")
	configureInterface(&far, uplink, addr)
	fmt.Fprintf(&far, "route add default via %s\n", netip.MustParsePrefix(gateway).Addr())
	return h, l.configureEnds(router, name, near.String(), far.String())
}

// AddLink connects a host with a further router, whose end is named after the host. No route of the host leads there.
func (l *Lab) AddLink(router, host, ifname, routerAddr, hostAddr string) error {
	if err := ip(fmt.Sprintf("link add %s netns %s type veth peer name %s netns %s\n",
		ifname, l.namespace(host), host, l.namespace(router)), "-batch", "-"); err != nil {
		return fmt.Errorf("connect %s with %s: %w", host, router, err)
	}
	var near, far strings.Builder
	configureInterface(&near, host, routerAddr)
	configureInterface(&far, ifname, hostAddr)
	return l.configureEnds(router, host, near.String(), far.String())
}

// addNamespace adds a host and its link to a router, without any addresses.
func (l *Lab) addNamespace(router, name string) (*Host, error) {
	batch := fmt.Sprintf("netns add %s\nlink add %s netns %s type veth peer name %s netns %s\n",
		l.namespace(name), uplink, l.namespace(name), name, l.namespace(router))
	if err := ip(batch, "-batch", "-"); err != nil {
		return nil, fmt.Errorf("add the host %s: %w", name, err)
	}
	ns, err := os.Open(filepath.Join(namespaceFolder, l.namespace(name)))
	if err != nil {
		return nil, fmt.Errorf("open the namespace of %s: %w", name, err)
	}
	h := &Host{Name: name, lab: l, ns: ns}
	l.hosts[name] = h
	return h, nil
}

// configureEnds runs the ip command's batches for the two ends of a link.
func (l *Lab) configureEnds(router, host, near, far string) error {
	for _, end := range []struct{ name, batch string }{{router, near}, {host, far}} {
		if err := ip(end.batch, "-n", l.namespace(end.name), "-batch", "-"); err != nil {
			return fmt.Errorf("connect %s with %s: %w", host, router, err)
		}
	}
	return nil
}
