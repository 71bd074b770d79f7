//go:build linux

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	neighbour     = "neighbour" // the host beside client1
	neighbourAddr = "192.168.1.3"
	client1Addr   = "192.168.1.2"
	lanGateway    = "192.168.1.1"
)

// TestOneLAN lets two clients of one LAN find each other although they share a port-restricted NAT: at their local
// addresses by local discovery or by the hairpinning extension, and at their mapped ones through a NAT that hairpins
// (C-LOC-06, C-LOC-07, X-HP-04, X-HP-08).
func TestOneLAN(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		flags    string // of both clients
		hairpins bool   // the NAT
		path     string
		// Where packets for each go.
		client1, neighbour string
	}{
		"local discovery":     {"", false, "local", client1Addr, neighbourAddr},
		"alternate addresses": {"--no-local-discovery", false, "direct", client1Addr, neighbourAddr},
		"NAT that hairpins":   {"--no-local-discovery --disable hairpinning", true, "direct", lab.NAT1Addr, lab.NAT1Addr},
	} {
		for _, first := range []string{"client1", neighbour} {
			t.Run(fmt.Sprintf("%s, %s first", name, first), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, lab.PortRestricted)
				w.record()
				w.addNeighbour(tt.hairpins)
				w.startServer(ours)
				_, addr1 := w.startClient("client1", ours, strings.Fields(tt.flags)...)
				_, addr2 := w.startClient(neighbour, ours, strings.Fields(tt.flags)...)
				if first == "client1" {
					w.firstContact("client1", addr2)
				} else {
					w.firstContact(neighbour, addr1)
				}
				w.wantPath("client1", addr2, tt.path, tt.neighbour)
				w.wantPath(neighbour, addr1, tt.path, tt.client1)
				w.ping("client1", addr2)
				w.ping(neighbour, addr1)
			})
		}
	}
}

// addNeighbour adds a host to the LAN of client1, whose NAT may let them reach each other at their mapped addresses.
func (w *world) addNeighbour(hairpins bool) {
	w.t.Helper()
	if _, err := w.AddNeighbour("nat1", "client1", neighbour, lanGateway+"/24", neighbourAddr+"/24"); err != nil {
		w.t.Fatal(err)
	}
	if !hairpins {
		return
	}
	// Who hairpins must not advise the shorter way.
	for _, scope := range []string{"all", "lan"} {
		w.run("nat1", "sysctl", "-q", "net.ipv4.conf."+scope+".send_redirects=0")
	}
	// The bridge must not apply the rules itself, if it can: it sends nothing back to where it came from.
	w.run("nat1", "sysctl", "-q", "-e", "net.bridge.bridge-nf-call-iptables=0")
	// Ports are those of the clients: nobody else is behind this NAT.
	w.run("nat1", "nft", strings.ReplaceAll(`table ip hairpin {
		map hosts { type inet_service : ipv4_addr; flags dynamic,timeout; timeout 2m; size 65535; }
		chain remember { type filter hook forward priority filter; oifname "uplink" meta l4proto udp update @hosts { udp sport : ip saddr }; }
		chain inbound { type nat hook prerouting priority dstnat; iifname "lan" ip daddr NAT meta l4proto udp dnat to udp dport map @hosts; }
		chain outbound { type nat hook postrouting priority srcnat; oifname "lan" ct status dnat snat to NAT; }
	}`, "NAT", lab.NAT1Addr))
}
