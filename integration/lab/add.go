package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// AddHost adds a host behind a router of the drawing. Each side has addresses, prefixes separated by spaces; the host's
// default routes lead to the router's. Routers don't tell each other about the new addresses.
func (l *Lab) AddHost(router, name, routerAddrs, hostAddrs string) (*Host, error) {
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

	var near, far strings.Builder
	far.WriteString("link set lo up\n")
	configureLink(&near, &far, link{router, name, routerAddrs, hostAddrs})
	if err := ip(near.String(), "-n", l.namespace(router), "-batch", "-"); err != nil {
		return nil, fmt.Errorf("connect %s: %w", name, err)
	}
	if err := ip(far.String(), "-n", l.namespace(name), "-batch", "-"); err != nil {
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	return h, nil
}
