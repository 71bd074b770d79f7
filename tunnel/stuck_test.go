package tunnel_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/tunnel"
)

// stuckKernel is a kernel whose calls do not return while it is stuck.
type stuckKernel struct {
	*tunnel.FakeKernel
	free chan struct{} // closed: calls return
	hold chan struct{} // closed: they do not
}

func (k *stuckKernel) wait() {
	select {
	case <-k.hold:
		<-k.free
	default:
	}
}

func (k *stuckKernel) Add(f tunnel.Flow, remote netip.AddrPort, heard time.Time) (bool, error) {
	k.wait()
	return k.FakeKernel.Add(f, remote, heard)
}

func (k *stuckKernel) Remove(f tunnel.Flow) error {
	k.wait()
	return k.FakeKernel.Remove(f)
}

func (k *stuckKernel) Usage(f tunnel.Flow) (tunnel.Usage, error) {
	k.wait()
	return k.FakeKernel.Usage(f)
}

func (k *stuckKernel) Failed() (uint64, error) {
	k.wait()
	return k.FakeKernel.Failed()
}

// atOnce asks something of a client, which must answer at the same instant.
func atOnce(t *testing.T, w *world, what string, ask func() error) {
	t.Helper()
	begun := w.Now()
	if err := ask(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if w.Now() != begun {
		t.Errorf("%s: the answer took %v", what, w.Now()-begun)
	}
}

// works checks that a client answers, has its server asked again and again, and loses no packet of flows with an old and a new peer.
func works(t *testing.T, w *world, c *natsim.Client, old *natsim.Native) {
	t.Helper()
	flows := []*natsim.Stream{c.Stream(old.Addr(), pace, 1000), old.Stream(c.Addr(), pace, 1000), c.Stream(w.Native().Addr(), pace, 900)}
	before := len(w.Sent(natsim.Kind("solicitation")))
	for range 10 {
		atOnce(t, w, "status", func() error { _, err := c.Tunnel.Status(context.Background()); return err })
		atOnce(t, w, "peers", func() error { _, err := c.Tunnel.Peers(context.Background()); return err })
		atOnce(t, w, "network changed", func() error { return c.Tunnel.NetworkChanged(context.Background(), tunnel.Network{}) })
		time.Sleep(10 * time.Second)
	}
	if asked := len(w.Sent(natsim.Kind("solicitation"))) - before; asked < 10 {
		t.Errorf("the server was asked %d times in 100 s", asked)
	}
	for i, f := range flows {
		f.Wait(time.Minute)
		if lost := f.Lost(); len(lost) > 0 {
			t.Errorf("flow %d has lost %v", i, lost)
		}
	}
}

// A kernel that does not come back from a call holds up nothing but the flows that it carries: packets pass, questions are answered,
// timers run.
func TestNobodyWaitsForTheKernel(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		kernel := &stuckKernel{tunnel.NewFakeKernel(), make(chan struct{}), make(chan struct{})}
		c := w.NAT(natsim.PortRestricted()).Client(w.server, func(cfg *tunnel.ClientConfig) { cfg.Kernel = opens(kernel) })
		c.AwaitAddr(time.Minute)
		host := w.Native()
		for range 2 {
			c.Send(host.Addr(), "hello")
			host.Next(time.Second)
		}
		if kernel.Flows() != 1 {
			t.Fatalf("the kernel carries %d flows", kernel.Flows())
		}
		close(kernel.hold)
		works(t, w, c, host)
		close(kernel.free)
		w.Settle()
		if n := len(kernel.Calls("remove")); n != 1 {
			t.Errorf("%d flows came back when the kernel did", n)
		}
	})
}

// While the interface does not get its new address, and is not restored, the client says so and goes on: it asks its server, and
// answers questions. The address counts when the interface has it.
func TestNobodyWaitsForTheInterface(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		free := make(chan struct{})
		nat := w.NAT(natsim.PortRestricted())
		c := nat.Client(w.server, func(cfg *tunnel.ClientConfig) {
			configure := cfg.Configure
			cfg.Configure = func(old, new netip.Addr) error {
				if old.IsValid() {
					<-free
				}
				return configure(old, new)
			}
			cfg.Restore = func(netip.Addr) ([]string, error) { return []string{"everything"}, nil }
		})
		old := c.AwaitAddr(time.Minute)
		nat.Rebind()
		c.NetworkChanged()
		time.Sleep(time.Second)
		before := len(w.Sent(natsim.Kind("solicitation")))
		restored := make(chan []string)
		go func() {
			lost, _ := c.Tunnel.RestoreInterface(context.Background())
			restored <- lost
		}()
		for range 10 {
			atOnce(t, w, "status", func() error {
				s, err := c.Tunnel.Status(context.Background())
				if s.State != "starting" || s.WaitingFor != "the interface to get its address" || s.Address.IsValid() {
					t.Errorf("%s, address %v, waits for %q", s.State, s.Address, s.WaitingFor)
				}
				return err
			})
			time.Sleep(10 * time.Second)
		}
		if asked := len(w.Sent(natsim.Kind("solicitation"))) - before; asked < 3 {
			t.Errorf("the server was asked %d times in 100 s", asked)
		}
		close(free)
		if lost := <-restored; len(lost) != 1 {
			t.Errorf("restored: %v", lost)
		}
		w.Settle()
		if s := c.Status(); s.State != "qualified" || s.Address == old || s.Address != c.Addr() {
			t.Errorf("%s with address %v; the interface has %v, and had %v", s.State, s.Address, c.Addr(), old)
		}
	})
}

// A client waits for its local address, says so, and then qualifies. Any other failure to open its port ends it.
func TestWaitsForLocalAddress(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		type news struct {
			state string
			ready bool
		}
		var told []news
		c := w.NAT(natsim.PortRestricted()).Client(w.server, func(cfg *tunnel.ClientConfig) {
			listen := cfg.Listen
			cfg.Listen = func() (tunnel.Conn, error) {
				if w.Now() < 9*time.Second {
					return nil, fmt.Errorf("no interface has 192.0.2.1: %w", syscall.EADDRNOTAVAIL)
				}
				return listen()
			}
			cfg.Changed = func(state string, ready bool) { told = append(told, news{state, ready}) }
		})
		time.Sleep(time.Second)
		s := c.Status()
		if s.State != "initial" || s.WaitingFor != "the local address" || !strings.Contains(s.LastError, "192.0.2.1") || s.Local.IsValid() {
			t.Errorf("%+v", s)
		}
		c.AwaitAddr(time.Minute)
		if want := 10*time.Second + qualification; w.Now() != want {
			t.Errorf("qualified at %v, want %v", w.Now(), want)
		}
		w.Settle()
		if first, last := told[0], told[len(told)-1]; first != (news{"initial, waiting for the local address", true}) || last != (news{"qualified as " + c.Addr().String(), true}) {
			t.Errorf("told %v", told)
		}
	})
	scenario(t, func(t *testing.T, w *world) {
		c := w.NAT(natsim.PortRestricted()).Client(w.server, func(cfg *tunnel.ClientConfig) {
			cfg.Listen = func() (tunnel.Conn, error) { return nil, syscall.EADDRINUSE }
			cfg.Changed = func(state string, ready bool) {
				if ready {
					t.Errorf("told that it is ready: %s", state)
				}
			}
		})
		if err := c.Wait(); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("ended with %v", err)
		}
	})
}
