package integration

import (
	"errors"
	"net"
	"os"
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
			if got := reaches(t, relay, client, mapped); got != tt.fromStranger {
				t.Errorf("a stranger reaches the client: %v, want %v", got, tt.fromStranger)
			}
			if !reaches(t, server, client, mapped) {
				t.Error("the server's answer does not reach the client")
			}
			// The stranger's packet must not have moved the mapping.
			for _, peer := range []net.PacketConn{relay, server2} {
				other := send(t, client, peer)
				if same := other.String() == mapped.String(); same != tt.sameMapping {
					t.Errorf("mapping toward %v: %v, toward the server: %v", peer.LocalAddr(), other, mapped)
				}
				if !reaches(t, peer, client, other) {
					t.Errorf("the answer of %v does not reach the client", peer.LocalAddr())
				}
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
	to.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, source, err := to.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// reaches reports whether a datagram from peer to the mapped address arrives at the client.
func reaches(t *testing.T, peer, client net.PacketConn, mapped net.Addr) bool {
	t.Helper()
	if _, err := peer.WriteTo([]byte("in"), mapped); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	client.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, source, err := client.ReadFrom(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	if source.String() != peer.LocalAddr().String() {
		t.Errorf("the client sees %v, want %v", source, peer.LocalAddr())
	}
	return true
}
