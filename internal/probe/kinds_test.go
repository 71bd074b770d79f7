package probe_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/mapport"
	"github.com/teredo-suite/teredo/internal/probe"
)

// natKind is a network that a host can be in.
type natKind struct {
	name string
	kind probe.Kind                                         // that the probe is to find
	host func(*natsim.Internet) (*natsim.Host, *natsim.NAT) // the NAT may be nil
	upnp bool
}

func behind(cfg natsim.NATConfig) func(*natsim.Internet) (*natsim.Host, *natsim.NAT) {
	return func(in *natsim.Internet) (*natsim.Host, *natsim.NAT) {
		nat := in.NAT(cfg)
		return nat.Host(), nat
	}
}

// with changes a configuration.
func with(cfg natsim.NATConfig, change func(*natsim.NATConfig)) natsim.NATConfig {
	change(&cfg)
	return cfg
}

func preserving(c *natsim.NATConfig) { c.Ports = natsim.PreservePorts }
func sequential(c *natsim.NATConfig) { c.Ports = natsim.SequentialPorts }
func hairpin(c *natsim.NATConfig)    { c.Hairpin = true }

// natKinds are those of RFC 6081, figure 1, and others that look like them.
func natKinds() []natKind {
	byAddress := with(natsim.Symmetric(), func(c *natsim.NATConfig) { c.Mapping = natsim.AddressDependent })
	open := with(natsim.Symmetric(), func(c *natsim.NATConfig) { c.Filtering = natsim.EndpointIndependent; c.Hairpin = true })
	return []natKind{
		{"none", probe.Cone, func(in *natsim.Internet) (*natsim.Host, *natsim.NAT) { return in.Host(), nil }, false},
		{"cone", probe.Cone, behind(natsim.Cone()), false},
		{"cone-hairpin", probe.Cone, behind(with(natsim.Cone(), hairpin)), false},
		{"address-restricted", probe.PortRestricted, behind(natsim.Restricted()), false}, // which cannot be told
		{"port-restricted", probe.PortRestricted, behind(natsim.PortRestricted()), false},
		{"port-restricted-hairpin", probe.PortRestricted, behind(with(natsim.PortRestricted(), hairpin)), false},
		{"port-restricted-preserving", probe.PortRestricted, behind(with(natsim.PortRestricted(), preserving)), false},
		{"port-restricted-sequential", probe.PortRestricted, behind(with(natsim.PortRestricted(), sequential)), false},
		{"upnp-port-restricted", probe.UPnPPortRestricted, behind(natsim.PortRestricted()), true},
		{"upnp-port-symmetric", probe.UPnPPortSymmetric, behind(natsim.Symmetric()), true},
		{"port-preserving-symmetric", probe.PortPreservingSymmetric, behind(natsim.PortPreserving()), false},
		{"sequential-symmetric", probe.SequentialPortSymmetric, behind(natsim.Sequential()), false},
		{"port-symmetric", probe.PortSymmetric, behind(natsim.Symmetric()), false},
		{"symmetric-by-address", probe.PortSymmetric, behind(byAddress), false},
		{"symmetric-open-hairpin", probe.PortSymmetric, behind(open), false},
		{"address-symmetric", probe.AddressSymmetric, behind(natsim.AddressSymmetric()), false},
		{"two-nats", probe.PortRestricted, func(in *natsim.Internet) (*natsim.Host, *natsim.NAT) {
			home := in.NAT(natsim.PortRestricted()).NAT(natsim.Cone())
			return home.Host(), home
		}, true}, // the gateway's address is not the one that the servers see
	}
}

// The whole report, of every kind of NAT. (RFC 6081, figure 1; C-QUAL-07, X-SNS-01, X-PP-02, X-UPNP-06)
func TestKinds(t *testing.T) {
	for _, k := range natKinds() {
		t.Run(k.name, func(t *testing.T) {
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
				h, nat := k.host(in)
				r := probeFrom(t, in, h, []probe.Server{named("teredo.example.net", in.Server())}, func(cfg *probe.Config) {
					if nat != nil {
						cfg.PortMap = noPortMap
					}
					if k.upnp {
						cfg.PortMap = nat.PortMap
					}
				})
				if r.NAT.Kind != k.kind {
					t.Errorf("kind %q, want %q", r.NAT.Kind, k.kind)
				}
				if r.Seconds > 2 {
					t.Errorf("it took %v s", r.Seconds)
				}
				checkGolden(t, k.name, r)
			})
		})
	}
}

// noPortMap is a gateway that maps no ports.
func noPortMap(ctx context.Context, r mapport.Request) {
	r.Changed(netip.AddrPort{}, "")
	<-ctx.Done()
}

// The verdict stands when any one packet is lost, whatever it is.
func TestOneLoss(t *testing.T) {
	for _, k := range natKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			lost := true
			for nth := 1; lost; nth++ {
				natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
					h, nat := k.host(in)
					rule := in.Drop(nth, natsim.Any)
					r := probeFrom(t, in, h, []probe.Server{named("teredo.example.net", in.Server())}, func(cfg *probe.Config) {
						if k.upnp {
							cfg.PortMap = nat.PortMap
						}
					})
					if r.NAT.Kind != k.kind || !r.Servers[0].Works || !r.Servers[0].Works2 {
						t.Errorf("without packet %d: kind %q, want %q: %+v", nth, r.NAT.Kind, k.kind, r.Servers[0])
					}
					lost = rule.Dropped()
				})
			}
		})
	}
}

// A probe leaves nothing behind at the gateway.
func TestPortIsGivenBack(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		nat := in.NAT(natsim.PortRestricted())
		var asked netip.AddrPort
		given := false
		probeFrom(t, in, nat.Host(), []probe.Server{named("s", in.Server())}, func(cfg *probe.Config) {
			cfg.PortMap = func(ctx context.Context, r mapport.Request) {
				asked = r.Local
				nat.PortMap(ctx, r)
				given = true
			}
		})
		if !asked.IsValid() || !given {
			t.Errorf("asked for %v, given back: %v", asked, given)
		}
	})
}

// Each pair of kinds of the figure is in one of the lists, and the lists of both sides agree.
func TestConnections(t *testing.T) {
	lists := func(r probe.Report) map[probe.Kind]string {
		of := make(map[probe.Kind]string)
		for name, kinds := range map[string][]probe.Kind{
			"directly": r.Connections.Directly, "extended": r.Connections.Extended,
			"if they begin": r.Connections.IfTheyBegin, "not": r.Connections.Not,
		} {
			for _, k := range kinds {
				of[k] += name
			}
		}
		return of
	}
	rows := make(map[probe.Kind]map[probe.Kind]string)
	for _, k := range natKinds() {
		natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
			h, nat := k.host(in)
			r := probeFrom(t, in, h, []probe.Server{named("s", in.Server())}, func(cfg *probe.Config) {
				if k.upnp {
					cfg.PortMap = nat.PortMap
				}
			})
			rows[r.NAT.Kind] = lists(r)
		})
	}
	for a, row := range rows {
		if len(row) != 9 {
			t.Errorf("%s: %v", a, row)
		}
		for b := range row {
			if back, ok := rows[b]; ok && (row[b] == "not") != (back[a] == "not") {
				t.Errorf("%s with %s: %q, the other way %q", a, b, row[b], back[a])
			}
		}
	}
	if got := rows[probe.SequentialPortSymmetric][probe.PortPreservingSymmetric]; got != "if they begin" {
		t.Errorf("sequential with port-preserving: %q", got)
	}
	if !slices.Contains([]string{"extended"}, rows[probe.PortPreservingSymmetric][probe.SequentialPortSymmetric]) {
		t.Errorf("port-preserving with sequential: %q", rows[probe.PortPreservingSymmetric][probe.SequentialPortSymmetric])
	}
}
