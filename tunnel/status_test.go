package tunnel_test

import (
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/natsim"
	"github.com/teredo-suite/teredo/peer"
	"github.com/teredo-suite/teredo/tunnel"
)

// The status tells of the NAT what the client has seen, and no more (C-QUAL-07, X-SNS-01, X-PP-02).
func TestNATInStatus(t *testing.T) {
	preserving := natsim.PortRestricted()
	preserving.Ports = natsim.PreservePorts
	for name, test := range map[string]struct {
		nat                      natsim.NATConfig
		cone                     bool
		kind, mapping, filtering string
		preserving               bool
	}{
		"restricted":            {natsim.PortRestricted(), false, "restricted", "endpoint-independent", "unknown", false},
		"preserving":            {preserving, false, "restricted", "endpoint-independent", "unknown", true},
		"cone, not asked":       {natsim.Cone(), false, "restricted", "endpoint-independent", "unknown", false},
		"cone":                  {natsim.Cone(), true, "cone", "endpoint-independent", "endpoint-independent", false},
		"symmetric":             {natsim.Symmetric(), false, "symmetric", "symmetric", "unknown", false},
		"preserving, symmetric": {natsim.PortPreserving(), false, "symmetric", "symmetric", "unknown", true},
	} {
		t.Run(name, func(t *testing.T) {
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
				c := in.NAT(test.nat).Client(in.Server(), func(cfg *tunnel.ClientConfig) {
					cfg.ConePhase, cfg.Extensions = test.cone, peer.Extensions{SymmetricNAT: true}
				})
				if s := c.Status(); s.NAT != "unknown" || s.Mapping != "unknown" || s.Filtering != "unknown" || s.PortPreserving {
					t.Errorf("before an answer: %+v", s)
				}
				c.AwaitAddr(time.Minute)
				s := c.Status()
				if s.NAT != test.kind || s.Mapping != test.mapping || s.Filtering != test.filtering || s.PortPreserving != test.preserving {
					t.Errorf("nat %q, mapping %q, filtering %q, port preserving %v; want %+v", s.NAT, s.Mapping, s.Filtering, s.PortPreserving, test)
				}
			})
		})
	}
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		c := in.Client(in.Server())
		c.AwaitAddr(time.Minute)
		if s := c.Status(); s.NAT != "none" || s.Mapping != "none" || s.Filtering != "unknown" || !s.PortPreserving {
			t.Errorf("without a NAT: nat %q, mapping %q, filtering %q, port preserving %v", s.NAT, s.Mapping, s.Filtering, s.PortPreserving)
		}
	})
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		c := in.NAT(preserving).Client(in.Server(natsim.OneAddress))
		c.AwaitAddr(time.Minute)
		if s := c.Status(); s.NAT != "unknown" || s.Mapping != "unknown" || !s.PortPreserving {
			t.Errorf("with one address: nat %q, mapping %q, port preserving %v", s.NAT, s.Mapping, s.PortPreserving)
		}
	})
}
