package integration

import (
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestNATReported checks what our client says about the NAT in front of it (C-QUAL-07, C-QUAL-08).
func TestNATReported(t *testing.T) {
	for _, tt := range []struct {
		nat        lab.NAT
		server     implementation
		nats       string // status "nat"
		state      string
		lastErrors string // part of status "last_error"
	}{
		{lab.PortRestricted, ours, "restricted", "qualified", ""},
		{lab.FullCone, ours, "restricted", "qualified", ""},
		{lab.Symmetric, ours, "symmetric", "offline", "symmetric"},
		{lab.Symmetric, miredo, "symmetric", "offline", "symmetric"},
	} {
		t.Run(string(tt.nat)+"/"+string(tt.server), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.nat)
			w.record()
			w.startServer(tt.server)
			w.start("client1", w.clientCommand("client1")...)
			s := w.untilStatus(startTimeout, "client1", "state "+tt.state, func(s clientStatus) bool {
				return s.State == tt.state
			})
			if s.NAT != tt.nats {
				t.Errorf("nat %q, want %q", s.NAT, tt.nats)
			}
			if !strings.Contains(s.LastError, tt.lastErrors) || (tt.lastErrors == "" && s.LastError != "") {
				t.Errorf("last_error %q, want %q in it", s.LastError, tt.lastErrors)
			}
			addr, has := w.teredoAddr("client1")
			if qualified := tt.state == "qualified"; has != qualified || (s.Address != "") != qualified {
				t.Errorf("address %v (%v) on the interface, %q in the status", addr, has, s.Address)
			}
		})
	}
}
