//go:build linux

package main

import "net/netip"

// The native host gets IPv4 too, so that plain IPv4 takes the same way through the NAT: what a tunnel that costs nothing
// would come to.
const (
	nativeIPv4  = "100.64.1.2"
	nativeLink  = nativeIPv4 + "/30"
	nativeRoute = "100.64.1.1"
)

// addIPv4 gives the native host IPv4.
func (t *trip) addIPv4() error {
	for _, c := range []struct{ host, command string }{
		{"inet", "ip address add " + nativeRoute + "/30 dev native"},
		{"native", "ip address add " + nativeLink + " dev uplink"},
		{"native", "ip route add default via " + nativeRoute},
	} {
		if _, err := t.Host(c.host).Run(patience, "sh", "-c", c.command); err != nil {
			return err
		}
	}
	return nil
}

// plain is the plain way from client1 to the native host.
func (t *trip) plain() (near, far netip.Addr) {
	return netip.IPv4Unspecified(), netip.MustParseAddr(nativeIPv4)
}

// ofPlain notes what plain IPv4 comes to, measured right after the tunnel, and the share of it that the tunnel reaches.
func (t *trip) ofPlain(key string, tunnelled, plain float64) {
	t.add("plain "+key, t.who, plain)
	if plain > 0 {
		t.add("of plain "+key, t.who, tunnelled/plain)
	}
}
