package natsim_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/mapport"
)

// Mapping and filtering are independent of each other (RFC 4787 §4.1 and §5).
func TestMappingAndFiltering(t *testing.T) {
	for _, mapping := range behaviors() {
		for _, filtering := range behaviors() {
			t.Run(fmt.Sprintf("%v mapping, %v filtering", mapping, filtering), func(t *testing.T) {
				natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
					nat := in.NAT(natsim.NATConfig{Mapping: mapping, Filtering: filtering, Ports: natsim.RandomPorts})
					checkMapping(t, listen(in, nat.Host(), 5000), newOutside(in), mapping)
					checkFiltering(t, listen(in, nat.Host(), 5000), newOutside(in), filtering)
				})
			})
		}
	}
}

func checkMapping(t *testing.T, inside endpoint, out outside, mapping natsim.Behavior) {
	t.Helper()
	a1, a2, b1 := inside.reach(t, out.a1.addr()), inside.reach(t, out.a2.addr()), inside.reach(t, out.b1.addr())
	if again := inside.reach(t, out.a1.addr()); again != a1 {
		t.Errorf("the same destination sees %v and then %v", a1, again)
	}
	if got, want := a1 == a2, mapping != natsim.AddressAndPortDependent; got != want {
		t.Errorf("another port sees the same mapping: %v, want %v", got, want)
	}
	if got, want := a1 == b1, mapping == natsim.EndpointIndependent; got != want {
		t.Errorf("another address sees the same mapping: %v, want %v", got, want)
	}
}

func checkFiltering(t *testing.T, inside endpoint, out outside, filtering natsim.Behavior) {
	t.Helper()
	mapped := inside.reach(t, out.a1.addr())
	for _, test := range []struct {
		from endpoint
		in   bool
	}{
		{out.a1, true},
		{out.a2, filtering != natsim.AddressAndPortDependent},
		{out.b1, filtering == natsim.EndpointIndependent},
	} {
		if test.in {
			if src := test.from.reach(t, mapped); src != test.from.addr() {
				t.Errorf("inside sees %v as the source, want %v", src, test.from.addr())
			}
		} else {
			test.from.fail(t, mapped, "filtered")
		}
	}
}

func TestUnsolicited(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		nat := in.NAT(natsim.Cone())
		nat.Host()
		newOutside(in).a1.fail(t, netip.AddrPortFrom(nat.Addr(), 5000), "no mapping")
	})
}

func TestPortAssignment(t *testing.T) {
	for _, ports := range []natsim.PortAssignment{natsim.PreservePorts, natsim.SequentialPorts, natsim.RandomPorts} {
		t.Run(ports.String(), func(t *testing.T) {
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
				nat, out := in.NAT(natsim.NATConfig{Ports: ports}), newOutside(in)
				first := listen(in, nat.Host(), 5000).reach(t, out.a1.addr()).Port()
				second := listen(in, nat.Host(), 5000).reach(t, out.a1.addr()).Port()
				other := listen(in, nat.Host(), 6000).reach(t, out.a1.addr()).Port()
				next := second == first+1 && other == second+1
				switch ports {
				case natsim.PreservePorts:
					if first != 5000 || second != 5001 || other != 6000 {
						t.Errorf("ports %d, %d and %d, want 5000, 5001 and 6000", first, second, other)
					}
				case natsim.SequentialPorts:
					if !next || first == 5000 {
						t.Errorf("ports %d, %d and %d are not one after the other", first, second, other)
					}
				case natsim.RandomPorts:
					if next || first == 5000 || first == second {
						t.Errorf("ports %d, %d and %d are not random", first, second, other)
					}
				}
			})
		})
	}
}

// An endpoint-dependent NAT that preserves ports can do so for one destination only.
func TestPreservingSymmetric(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		cfg := natsim.Symmetric()
		cfg.Ports = natsim.PreservePorts
		inside, out := listen(in, in.NAT(cfg).Host(), 5000), newOutside(in)
		if a, b := inside.reach(t, out.a1.addr()).Port(), inside.reach(t, out.b1.addr()).Port(); a != 5000 || b != 5001 {
			t.Errorf("ports %d and %d, want 5000 and 5001", a, b)
		}
	})
}

func TestHairpinning(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		cfg := natsim.Cone()
		out := newOutside(in)
		nat := in.NAT(cfg)
		a, b := listen(in, nat.Host(), 5000), listen(in, nat.Host(), 5000)
		mapped := b.reach(t, out.a1.addr())
		a.fail(t, mapped, "no hairpinning")

		cfg.Hairpin = true
		nat = in.NAT(cfg)
		a, b = listen(in, nat.Host(), 5000), listen(in, nat.Host(), 5000)
		mappedA, mappedB := a.reach(t, out.a1.addr()), b.reach(t, out.a1.addr())
		if src := a.reach(t, mappedB); src != mappedA {
			t.Errorf("the packet that was turned round comes from %v, want the sender's mapping %v", src, mappedA)
		}
	})
}

// Filters apply to what is turned round, too.
func TestHairpinningIsFiltered(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		cfg := natsim.PortRestricted()
		cfg.Hairpin = true
		nat, out := in.NAT(cfg), newOutside(in)
		a, b := listen(in, nat.Host(), 5000), listen(in, nat.Host(), 5000)
		mappedA, mappedB := a.reach(t, out.a1.addr()), b.reach(t, out.a1.addr())
		a.fail(t, mappedB, "filtered")
		b.reach(t, mappedA)
		a.reach(t, mappedB)
	})
}

// A mapping lives from its last outbound packet on (RFC 4787 §4.3); inbound ones do not refresh it.
func TestLifetime(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		cfg := natsim.Cone()
		cfg.Lifetime = 60 * time.Second
		inside, out := listen(in, in.NAT(cfg).Host(), 5000), newOutside(in)
		mapped := inside.reach(t, out.a1.addr())
		time.Sleep(40 * time.Second)
		if again := inside.reach(t, out.b1.addr()); again != mapped {
			t.Fatalf("the mapping has changed from %v to %v", mapped, again)
		}
		time.Sleep(40 * time.Second)
		out.a1.reach(t, mapped)
		time.Sleep(17 * time.Second) // to within the last second
		out.a1.reach(t, mapped)
		time.Sleep(time.Second)
		out.a1.fail(t, mapped, "no mapping")
		if again := inside.reach(t, out.a1.addr()); again == mapped {
			t.Errorf("the expired mapping %v is back", mapped)
		}
	})
}

// The permission for one remote endpoint ends by itself, though traffic to others keeps the mapping.
func TestPermissionLifetime(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		cfg := natsim.PortRestricted()
		cfg.Lifetime = 60 * time.Second
		inside, out := listen(in, in.NAT(cfg).Host(), 5000), newOutside(in)
		mapped := inside.reach(t, out.a1.addr())
		time.Sleep(40 * time.Second)
		inside.reach(t, out.b1.addr())
		time.Sleep(25 * time.Second)
		out.b1.reach(t, mapped)
		out.a1.fail(t, mapped, "filtered")
	})
}

func TestRebind(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		nat, out := in.NAT(natsim.Cone()), newOutside(in)
		inside := listen(in, nat.Host(), 5000)
		mapped := inside.reach(t, out.a1.addr())
		nat.Rebind()
		out.a1.fail(t, mapped, "no mapping")
		if again := inside.reach(t, out.a1.addr()); again == mapped || again.Addr() != mapped.Addr() {
			t.Errorf("the mapping %v has become %v", mapped, again)
		}
		nat.Renumber()
		out.a1.fail(t, mapped, "no such address")
		if again := inside.reach(t, out.a1.addr()); again.Addr() != nat.Addr() || again.Addr() == mapped.Addr() {
			t.Errorf("the mapping is %v after another outside address %v", again, nat.Addr())
		}
	})
}

// A port that a person reserved is for one inside endpoint, for ever (RFC 4380 §5.2.10).
func TestForward(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		nat, out := in.NAT(natsim.Symmetric()), newOutside(in)
		inside := listen(in, nat.Host(), 5000)
		reserved := netip.AddrPortFrom(nat.Addr(), 7000)
		nat.Forward(7000, inside.addr())
		out.b2.reach(t, reserved)
		nat.Rebind()
		for _, to := range []endpoint{out.a1, out.b1} {
			if src := inside.reach(t, to.addr()); src != reserved {
				t.Errorf("%v sees %v, want %v", to.addr(), src, reserved)
			}
		}
	})
}

func TestNesting(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		carrier := in.NAT(natsim.PortRestricted())
		home := carrier.NAT(natsim.Cone())
		inside, neighbour, out := listen(in, home.Host(), 5000), listen(in, carrier.Host(), 5000), newOutside(in)
		mapped := inside.reach(t, out.a1.addr())
		if mapped.Addr() != carrier.Addr() {
			t.Errorf("outside sees %v, want the outer NAT's address %v", mapped, carrier.Addr())
		}
		if between := inside.reach(t, neighbour.addr()); between.Addr() != home.Addr() || !carrier.Prefix().Contains(between.Addr()) {
			t.Errorf("between the NATs it is %v, want the inner NAT's address %v", between, home.Addr())
		}
		out.a1.reach(t, mapped)
		out.b1.fail(t, mapped, "filtered") // by the outer one
	})
}

// A port that the gateway grants lets everybody in. What the client sends leaves by it; if the NAT is symmetric only what goes to
// the first destination does (RFC 6081 §3.2).
func TestPortMap(t *testing.T) {
	for _, symmetric := range []bool{false, true} {
		t.Run(fmt.Sprintf("symmetric %v", symmetric), func(t *testing.T) {
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
				cfg := natsim.PortRestricted()
				if symmetric {
					cfg = natsim.Symmetric()
				}
				nat, out := in.NAT(cfg), newOutside(in)
				inside := listen(in, nat.Host(), 5000)
				granted := netip.AddrPortFrom(nat.Addr(), 5000)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					nat.PortMap(ctx, mapport.Request{Local: inside.addr(), Changed: func(external netip.AddrPort, _ string) {
						if external != granted {
							t.Errorf("granted %v, want %v", external, granted)
						}
					}})
				}()
				time.Sleep(time.Second)
				refused := granted
				nat.PortMap(ctx, mapport.Request{Local: listen(in, nat.Host(), 5000).addr(), Changed: func(external netip.AddrPort, _ string) { refused = external }})
				if refused.IsValid() {
					t.Errorf("granted %v to another client", refused)
				}
				out.b2.reach(t, granted)
				if src := inside.reach(t, out.a1.addr()); src != granted {
					t.Errorf("the first destination sees %v, want %v", src, granted)
				}
				if src := inside.reach(t, out.b1.addr()); (src == granted) == symmetric {
					t.Errorf("the second destination sees %v, granted is %v", src, granted)
				}
				cancel()
				<-ended
				out.b2.fail(t, granted, "no mapping")
			})
		})
	}
}

// A NAT with several addresses has another one for each mapping, and nothing but the mapping's own address leads in.
func TestAddressSymmetric(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		inside, out := listen(in, in.NAT(natsim.AddressSymmetric()).Host(), 5000), newOutside(in)
		a, b := inside.reach(t, out.a1.addr()), inside.reach(t, out.b1.addr())
		if a.Addr() == b.Addr() || a.Port() == b.Port() {
			t.Errorf("two destinations see %v and %v", a, b)
		}
		out.a1.reach(t, a)
		out.a1.fail(t, b, "filtered")
		out.a1.fail(t, netip.AddrPortFrom(b.Addr(), a.Port()), "no mapping")
	})
}

// A symmetric NAT lets a remote endpoint in by the mapping for that endpoint only.
func TestSymmetricFilter(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		inside, out := listen(in, in.NAT(natsim.Symmetric()).Host(), 5000), newOutside(in)
		a, b := inside.reach(t, out.a1.addr()), inside.reach(t, out.b1.addr())
		out.a1.reach(t, a)
		out.a1.fail(t, b, "filtered")
		out.b1.reach(t, b)
	})
}
