//go:build linux

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestNATReported checks what our client says about the NAT in front of it (C-QUAL-07, C-QUAL-08, X-SNS-01).
func TestNATReported(t *testing.T) {
	for _, tt := range []struct {
		nat       lab.NAT
		server    implementation
		flags     string // of our client, besides the usual ones
		reported  string // status "nat"
		state     string
		lastError string // part of status "last_error"; "" means that it is empty
	}{
		{lab.PortRestricted, ours, "", "restricted", "qualified", ""},
		{lab.FullCone, ours, "", "restricted", "qualified", ""},
		{lab.Symmetric, ours, "", "symmetric", "qualified", ""},
		{lab.Symmetric, miredo, "", "symmetric", "qualified", ""},
		{lab.Symmetric, ours, "--disable symmetric-nat", "symmetric", "offline", "symmetric NAT"},
		{lab.Symmetric, miredo, "--disable symmetric-nat", "symmetric", "offline", "symmetric NAT"},
	} {
		t.Run(fmt.Sprintf("%s/%s %s", tt.nat, tt.server, tt.flags), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.nat)
			w.record()
			w.startServer(tt.server)
			w.start("client1", w.clientCommand("client1", strings.Fields(tt.flags)...)...)
			s := w.untilStatus(startTimeout, "client1", "state "+tt.state, func(s clientStatus) bool {
				return s.State == tt.state && s.NAT != "unknown" // which it is until the second address has answered
			})
			if s.NAT != tt.reported {
				t.Errorf("nat %q, want %q", s.NAT, tt.reported)
			}
			if !strings.Contains(s.LastError, tt.lastError) || (tt.lastError == "" && s.LastError != "") {
				t.Errorf("last_error %q, want %q in it", s.LastError, tt.lastError)
			}
			addr, has := w.teredoAddr("client1")
			if qualified := tt.state == "qualified"; has != qualified || (s.Address != "") != qualified {
				t.Errorf("address %v (%v) on the interface, %q in the status", addr, has, s.Address)
			}
		})
	}
}

// TestHairpinningReported checks whether our client sees that the NAT turns round what is sent to its own mapping.
func TestHairpinningReported(t *testing.T) {
	t.Parallel()
	for hairpins, want := range map[bool]string{false: "no", true: "yes"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.record()
			w.addNeighbour(hairpins)
			w.startServer(ours)
			w.startClient("client1", ours)
			w.untilStatus(startTimeout, "client1", "hairpinning "+want, func(s clientStatus) bool { return s.Hairpinning == want })
		})
	}
}
