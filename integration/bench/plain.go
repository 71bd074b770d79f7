//go:build linux

package main

import "net/netip"

// The native host gets IPv4 too, so that plain IPv4 takes the same way through the NAT.
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

// withoutTunnel measures one TCP stream in each direction over plain IPv4, while the programs are idle: what a tunnel that
// costs nothing would come to.
func (t *trip) withoutTunnel() error {
	if err := t.addIPv4(); err != nil {
		return err
	}
	for _, reverse := range []bool{false, true} {
		stream := bulk{"client1", netip.MustParseAddr(nativeIPv4), reverse}
		rate, perGB, err := t.billed(t.plan.transfer, stream, machineTime)
		if err != nil {
			return err
		}
		t.add("plain tcp "+stream.direction(), t.who, rate/1e9)
		t.add("plain machine "+stream.direction(), t.who, perGB[0])
	}
	return nil
}
