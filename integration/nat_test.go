//go:build linux

package integration

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestNATs checks that the NATs of the lab are what they are called: the other tests rest on it.
func TestNATs(t *testing.T) {
	for _, tt := range []struct {
		nat          lab.NAT
		sameMapping  bool // two peers see the same mapping
		fromStranger bool // a peer that the client has not sent to reaches it
		samePort     bool // the first peer sees the client's own port
	}{
		{lab.PortRestricted, true, false, true},
		{lab.FullCone, true, true, true},
		{lab.Symmetric, false, false, false},
		{lab.PortPreservingSymmetric, false, false, true},
	} {
		t.Run(string(tt.nat), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.nat)
			client := w.socket("client1", ":4000")
			server := w.socket("server", lab.ServerAddr+":3544")
			server2 := w.socket("server", lab.ServerAddr2+":3544")
			relay := w.socket("relay", lab.RelayAddr+":3545")

			mapped := send(t, client, server)
			if got := strings.HasSuffix(mapped.String(), ":4000"); got != tt.samePort {
				t.Errorf("mapping of port 4000: %v", mapped)
			}
			wantReach(t, relay, client, mapped, tt.fromStranger)
			wantReach(t, server, client, mapped, true)
			// The stranger's packet must not have moved the mapping.
			for _, peer := range []net.PacketConn{relay, server2} {
				other := send(t, client, peer)
				if same := other.String() == mapped.String(); same != tt.sameMapping {
					t.Errorf("mapping toward %v: %v, toward the server: %v", peer.LocalAddr(), other, mapped)
				}
				wantReach(t, peer, client, other, true)
			}
		})
	}
}

// send sends a datagram from one socket to another and returns where it came from.
func send(t *testing.T, from, to net.PacketConn) net.Addr {
	t.Helper()
	if _, err := from.WriteTo([]byte("out"), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	to.SetReadDeadline(time.Now().Add(pingTimeout))
	_, source, err := to.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// wantReach checks whether a datagram from peer to the mapped address arrives at the client.
func wantReach(t *testing.T, peer, client net.PacketConn, mapped net.Addr, want bool) {
	t.Helper()
	if _, err := peer.WriteTo([]byte("in"), mapped); err != nil {
		t.Fatal(err)
	}
	patience := pingTimeout
	if !want {
		patience = 300 * time.Millisecond
	}
	b := make([]byte, 16)
	client.SetReadDeadline(time.Now().Add(patience))
	_, source, err := client.ReadFrom(b)
	switch {
	case want && err != nil:
		t.Errorf("%v does not reach the client: %v", peer.LocalAddr(), err)
	case !want && err == nil:
		t.Errorf("%v reaches the client", peer.LocalAddr())
	case want && source.String() != peer.LocalAddr().String():
		t.Errorf("the client sees %v, want %v", source, peer.LocalAddr())
	}
}
