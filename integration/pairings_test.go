//go:build linux

package integration

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

// pairing says whose program plays each role.
type pairing struct{ server, relay, client1, client2 implementation }

func (p pairing) String() string {
	return fmt.Sprintf("server=%s,relay=%s,client1=%s,client2=%s", p.server, p.relay, p.client1, p.client2)
}

// silence is longer than the validity of a peer entry (K-07).
const silence = 35 * time.Second

// TestPairings lets our programs and Miredo work together in every combination. All of them being Miredo is the control:
// it shows that the lab is not what makes others fail.
//
// Both NATs are of one kind and all combinations are tried, so whatever happens between client1 and client2 in one
// combination happens the other way round in another.
func TestPairings(t *testing.T) {
	// Phases that use the processor take turns; the silences overlap.
	turns := make(chan struct{}, 2)
	both := []implementation{ours, miredo}
	for _, nat := range []lab.NAT{lab.PortRestricted, lab.FullCone} {
		for _, server := range both {
			for _, relay := range both {
				for _, client1 := range both {
					for _, client2 := range both {
						p := pairing{server, relay, client1, client2}
						t.Run(fmt.Sprintf("%s/%s", nat, p), func(t *testing.T) {
							t.Parallel()
							testPairing(t, nat, p, turns)
						})
					}
				}
			}
		}
	}
}

func testPairing(t *testing.T, nat lab.NAT, p pairing, turns chan struct{}) {
	native := netip.MustParseAddr(lab.NativeAddr)

	turns <- struct{}{}
	defer func() { <-turns }()
	w := newWorld(t, nat)
	w.record()
	w.startServer(p.server)
	w.startRelay(p.relay)
	process1, addr1 := w.startClient("client1", p.client1)
	process2, addr2 := w.startClient("client2", p.client2)

	// First contact.
	w.ping("client1", native)
	w.ping("native", addr2)
	w.ping("client1", addr2)

	const size = 50 << 20
	w.transfer("client1", "native", native, size)
	w.transfer("native", "client1", addr1, size)
	w.transfer("client1", "client2", addr2, size)

	<-turns
	time.Sleep(silence)
	turns <- struct{}{}

	// Entries are no longer valid; each of these has to find its way anew.
	w.ping("native", addr1)
	w.ping("client2", native)
	w.ping("client1", addr2)
	w.ping("client2", addr1)
	if t.Failed() {
		return
	}

	// New processes have new ports and new addresses, and know no peers: first contact from the other sides.
	w.stop(process1)
	w.stop(process2)
	_, addr1 = w.startClient("client1", p.client1)
	w.startClient("client2", p.client2)
	w.ping("client2", addr1)
	w.ping("client2", native)
	w.ping("native", addr1)
}
