package portmap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"golang.org/x/net/ipv4"
)

const mostLocations = 3 // tried in one search

// ssdpGroup is where UPnP devices listen for searches.
func ssdpGroup() netip.AddrPort { return netip.MustParseAddrPort("239.255.255.250:1900") }

// searchTargets are the devices that can map ports. The standard demands that version 2 answers to version 1; not all do.
func searchTargets() []string {
	return []string{"urn:schemas-upnp-org:device:InternetGatewayDevice:1", "urn:schemas-upnp-org:device:InternetGatewayDevice:2"}
}

// search looks for an Internet gateway device (UPnP Device Architecture 1.1, §1.3). It calls visit with the location of each
// description that the gateway announces, until visit returns true or ctx ends.
//
// It asks the multicast group, and the gateway itself: many host firewalls accept only the answer to the latter.
func (g gateway) search(ctx context.Context, visit func(location *url.URL) bool) error {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(g.internal.Addr(), 0)))
	if err != nil {
		return err
	}
	defer conn.Close()
	group, self := ssdpGroup(), netip.AddrPortFrom(g.addr, ssdpGroup().Port())
	multicast := useInterface(conn, g.internal.Addr()) == nil
	send := func() error {
		var errs []error
		for _, target := range searchTargets() {
			_, err := conn.WriteToUDPAddrPort(searchMessage(self, target), self)
			errs = append(errs, err)
			if multicast { // if it fails, the unicast search is left
				_, _ = conn.WriteToUDPAddrPort(searchMessage(group, target), group)
			}
		}
		return errors.Join(errs...)
	}
	var visited []string
	return exchange(ctx, conn, send, func(from netip.Addr, datagram []byte) bool {
		location, ok := parseAnswer(datagram)
		if !ok || from != g.addr || len(visited) == mostLocations || slices.Contains(visited, location.String()) {
			return false
		}
		visited = append(visited, location.String())
		return visit(location)
	})
}

// useInterface sends multicasts on the interface that has the local address.
func useInterface(conn *net.UDPConn, local netip.Addr) error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == local {
				return ipv4.NewPacketConn(conn).SetMulticastInterface(&i)
			}
		}
	}
	return fmt.Errorf("no interface has the address %v", local)
}

// searchMessage is a search that must be answered within a second.
func searchMessage(to netip.AddrPort, target string) []byte {
	return fmt.Appendf(nil, "M-SEARCH * HTTP/1.1\r\nHOST: %v\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: %s\r\n\r\n", to, target)
}

// parseAnswer returns the location of the description from the answer to a search.
func parseAnswer(datagram []byte) (*url.URL, bool) {
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(datagram)), nil)
	if err != nil {
		return nil, false
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || !slices.Contains(searchTargets(), response.Header.Get("ST")) {
		return nil, false
	}
	location, err := url.Parse(response.Header.Get("Location"))
	if err != nil || location.Scheme != "http" || location.Host == "" {
		return nil, false
	}
	return location, true
}
