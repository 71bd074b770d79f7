//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	// contactTimeout is for a first packet and its answer.
	contactTimeout = 30 * time.Second
	// failureTimeout: a search for a path ends after four attempts of 2 s, and time to spare.
	failureTimeout = 40 * time.Second
)

// TestNATPairs lets clients behind NATs of different kinds find direct paths to each other, or be told that there is none:
// what the kernel has of figure 1 of RFC 6081 (X-SNS-09, X-PP-12).
func TestNATPairs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		first, second lab.NAT // of the client that sends the first packet, and of the other
		connects      bool
	}{
		{lab.PortRestricted, lab.PortPreservingSymmetric, true},
		{lab.PortPreservingSymmetric, lab.PortRestricted, true},
		{lab.PortPreservingSymmetric, lab.PortPreservingSymmetric, true},
		{lab.FullCone, lab.Symmetric, true},
		{lab.Symmetric, lab.FullCone, true},
		{lab.FullCone, lab.PortPreservingSymmetric, true},
		{lab.PortPreservingSymmetric, lab.FullCone, true},
		{lab.PortRestricted, lab.Symmetric, false},
		{lab.Symmetric, lab.PortRestricted, false},
	} {
		t.Run(fmt.Sprintf("%s to %s", tt.first, tt.second), func(t *testing.T) {
			t.Parallel()
			w := newWorldBehind(t, tt.first, tt.second)
			w.record()
			w.startServer(ours)
			_, addr1 := w.startClient("client1", ours)
			_, addr2 := w.startClient("client2", ours)
			if !tt.connects {
				w.unreachable("client1", addr2)
				return
			}
			w.firstContact("client1", addr2)
			w.wantPath("client1", addr2, "direct", lab.NAT2Addr)
			w.wantPath("client2", addr1, "direct", lab.NAT1Addr)
			w.ping("client2", addr1)
		})
	}
}

// TestSymmetricNATNative lets a client behind a symmetric NAT and a native host find each other through our relay, which
// knows the client's packets by a source that nobody can guess (A-11, R-RX-02).
func TestSymmetricNATNative(t *testing.T) {
	t.Parallel()
	for _, nat := range []lab.NAT{lab.Symmetric, lab.PortPreservingSymmetric} {
		for _, first := range []string{"client1", "native"} {
			t.Run(fmt.Sprintf("%s, %s first", nat, first), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, nat)
				w.record()
				addr := w.startOurs()
				native := netip.MustParseAddr(lab.NativeAddr)
				if first == "native" {
					w.firstContact("native", addr)
				} else {
					w.firstContact("client1", native)
				}
				w.wantPath("client1", native, "relay", lab.RelayAddr)
				w.ping("client1", native)
				w.ping("native", addr)
			})
		}
	}
}

// firstContact sends one echo request to a host that was not talked to. The reply must come.
func (w *world) firstContact(from string, to netip.Addr) {
	w.t.Helper()
	if err := w.Host(from).Ping(to, contactTimeout); err != nil {
		w.t.Fatalf("first contact %s -> %v: %v", from, to, err)
	}
}

// unreachable sends echo requests to a peer that cannot be reached. The kernel must tell the sender.
func (w *world) unreachable(from string, to netip.Addr) {
	w.t.Helper()
	// With a deadline, ping ends with the first error that it is told.
	seconds := fmt.Sprint(failureTimeout.Seconds())
	out, err := w.Host(from).Run(2*failureTimeout, "ping", "-6", "-n", "-c", "1", "-w", seconds, to.String())
	if err == nil || !strings.Contains(out, "Destination unreachable") {
		w.t.Errorf("ping %s -> %v: %v, want to be told that it is unreachable: %s", from, to, err, out)
	}
}

// peerStatus is what tests read of a peer of a client.
type peerStatus struct {
	Address  string `json:"address"`
	Endpoint string `json:"endpoint"`
	State    string `json:"state"`
	Path     string `json:"path"`
}

// wantPath checks the path that our client on a host has to a peer, and the IPv4 address that it leads to.
func (w *world) wantPath(host string, to netip.Addr, path, endpoint string) {
	w.t.Helper()
	if err := lab.Until(startTimeout, fmt.Sprintf("the path of %s to %v to be %s, to %s", host, to, path, endpoint), func() error {
		return w.hasPath(host, to, path, endpoint)
	}); err != nil {
		w.t.Error(err)
	}
}

// hasPath returns nil when the path is as wantPath wants it.
func (w *world) hasPath(host string, to netip.Addr, path, endpoint string) error {
	var peers []peerStatus
	out := w.query(host, "client", "peers")
	if err := json.Unmarshal([]byte(out), &peers); err != nil {
		return fmt.Errorf("peers: %s", out)
	}
	for _, p := range peers {
		if p.Address == to.String() && p.State == "trusted" && p.Path == path && strings.HasPrefix(p.Endpoint, endpoint+":") {
			return nil
		}
	}
	return fmt.Errorf("peers: %s", out)
}
