package natsim_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
)

// A run depends on nothing but its seed: not on the scheduler, not on what ran before.
func TestDeterminism(t *testing.T) {
	first := busy(t, 7)
	for range 4 {
		compare(t, first, busy(t, 7))
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	compare(t, first, busy(t, 7))
	if other := busy(t, 8); strings.Join(other, "\n") == strings.Join(first, "\n") {
		t.Error("another seed gives the same run")
	}
}

func compare(t *testing.T, want, got []string) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			t.Fatalf("record %d differs:\n%s\n%s", i, want[i], got[i])
		}
	}
	if len(want) != len(got) {
		t.Fatalf("%d records, and %d the second time", len(want), len(got))
	}
}

// busy has several clients talk to each other and to native hosts over bad links, all beginning at the same instant, and
// returns the trace with the payloads.
func busy(t *testing.T, seed uint64) (lines []string) {
	natsim.Test(t, seed, func(t *testing.T, in *natsim.Internet) {
		srv := in.Server()
		in.Relay().SetNativeLink(natsim.Link{Delay: 5 * time.Millisecond, Duplicate: 0.1})
		natives := []*natsim.Native{in.Native(), in.Native()}
		var clients []*natsim.Client
		for _, cfg := range []natsim.NATConfig{natsim.Cone(), natsim.Restricted(), natsim.PortRestricted()} {
			cfg.Hairpin = true
			nat := in.NAT(cfg)
			nat.SetLink(natsim.Link{Delay: 20 * time.Millisecond, Jitter: 15 * time.Millisecond, Loss: 0.05, Duplicate: 0.05})
			clients = append(clients, nat.Client(srv), nat.NAT(cfg).Client(srv))
		}
		for _, c := range clients {
			c.AwaitAddr(time.Minute)
		}
		for i, c := range clients {
			c.Stream(natives[i%2].Addr(), 250*time.Millisecond, 100)
			c.Stream(clients[(i+1)%len(clients)].Addr(), 250*time.Millisecond, 100)
			natives[i%2].Stream(c.Addr(), 250*time.Millisecond, 100)
		}
		time.Sleep(40 * time.Second)
		clients[0].Move(in.NAT(natsim.Cone()).Network)
		time.Sleep(40 * time.Second)
		for _, r := range in.Trace() {
			lines = append(lines, fmt.Sprintf("%v %x", r, r.Packet.Payload))
		}
	})
	if len(lines) < 10000 {
		t.Fatalf("only %d records: nothing much has happened", len(lines))
	}
	return lines
}
