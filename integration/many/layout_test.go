//go:build linux

package many

import (
	"fmt"
	"net/netip"

	"github.com/teredo-suite/teredo/integration/lab"
)

//	                                router (BIRD: BGP, BFD, ECMP)
//	   ┌──────────┬─────────┬─────────┬─────────┬──────┴──┬──────────────────┐
//	server1    server2    relay1    relay2    relay3   native1..3        nat1..10
//	192.0.2.1 and .2         each with 2001::/32       2001:db8:6:N::1       │
//	at both                                                              client1..10
//
// Each site has BIRD, too. The clients have IPv4 only.
const (
	router  = "router"
	servers = 2
	relays  = 3
	natives = 3
	clients = 10
	ours    = 6 // of the clients; the others are Miredo's

	latecomer = clients + 1 // one of ours that is not there all the time

	serverAddr1 = "192.0.2.1" // next to each other, as Windows expects
	serverAddr2 = "192.0.2.2"

	tun = "teredo" // the TUN interface of every program
)

// The numbers of the sites are those of their links.
func serverSite(n int) site { return site{fmt.Sprint("server", n), n} }
func relaySite(n int) site  { return site{fmt.Sprint("relay", n), servers + n} }

func nativeName(n int) string { return fmt.Sprint("native", n) }
func clientName(n int) string { return fmt.Sprint("client", n) }

func nativeAddr(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:6:%d::1", n)) }

// site is a host with BIRD and one of our programs.
type site struct {
	name string
	link int
}

func (s site) addr4() string       { return fmt.Sprintf("198.51.100.%d", 16*s.link+1) }
func (s site) routerAddr4() string { return fmt.Sprintf("198.51.100.%d", 16*s.link+14) }
func (s site) addr6() string       { return fmt.Sprintf("2001:db8:2:%d::1", s.link) }
func (s site) routerAddr6() string { return fmt.Sprintf("2001:db8:2:%d::ff", s.link) }

// allSites are the sites of servers, and then those of relays.
func allSites() (all []site) {
	for n := range servers {
		all = append(all, serverSite(n+1))
	}
	for n := range relays {
		all = append(all, relaySite(n+1))
	}
	return all
}

func layout() lab.Layout {
	y := lab.Layout{Settings: []lab.Setting{
		{Host: "*", Path: "net/ipv6/conf/default/accept_dad", Value: "0"},
		{Host: "*", Path: "net/ipv6/conf/default/accept_ra", Value: "0"},
		{Host: router, Path: "net/ipv4/ip_forward", Value: "1"},
		{Host: router, Path: "net/ipv6/conf/all/forwarding", Value: "1"},
		{Host: router, Path: "net/ipv6/fib_multipath_hash_policy", Value: "3"}, // as contrib/bird/router.conf says
		{Host: router, Path: "net/ipv6/fib_multipath_hash_fields", Value: "3"},
	}}
	for _, s := range allSites() {
		y.Links = append(y.Links, lab.Link{Router: router, Host: s.name,
			RouterAddrs: s.routerAddr4() + "/28 " + s.routerAddr6() + "/64", HostAddrs: s.addr4() + "/28 " + s.addr6() + "/64"})
		y.Settings = append(y.Settings, lab.Setting{Host: s.name, Path: "net/ipv6/conf/all/forwarding", Value: "1"})
	}
	for i := range natives {
		n := i + 1
		y.Links = append(y.Links, lab.Link{Router: router, Host: nativeName(n),
			RouterAddrs: fmt.Sprintf("2001:db8:6:%d::ff/64", n), HostAddrs: nativeAddr(n).String() + "/64"})
	}
	for i := range latecomer {
		n := i + 1
		nat, client := fmt.Sprint("nat", n), fmt.Sprintf("192.168.%d.2", n)
		y.Links = append(y.Links,
			lab.Link{Router: router, Host: nat, RouterAddrs: fmt.Sprintf("203.0.113.%d/28", 16*n+14), HostAddrs: fmt.Sprintf("203.0.113.%d/28", 16*n+1)},
			lab.Link{Router: nat, Host: clientName(n), RouterAddrs: fmt.Sprintf("192.168.%d.1/24", n), HostAddrs: client + "/24"})
		y.Settings = append(y.Settings, lab.Setting{Host: nat, Path: "net/ipv4/ip_forward", Value: "1"})
		y.NATs = append(y.NATs, lab.Translator{Host: nat, Kind: lab.PortRestricted, Client: client})
	}
	return y
}
