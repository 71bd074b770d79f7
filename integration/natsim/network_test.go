package natsim_test

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

func TestLAN(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		nat := in.NAT(natsim.Cone())
		a, b := listen(in, nat.Host(), 5000), listen(in, nat.Host(), 5000)
		if src := a.reach(t, b.addr()); src != a.addr() {
			t.Errorf("a neighbour sees %v, want %v", src, a.addr())
		}
		other := in.NAT(natsim.Cone())
		if got := other.Host().Addr(); got != a.host.Addr() {
			t.Errorf("the first host of another LAN is %v, want the same private address %v", got, a.host.Addr())
		}
		a.fail(t, netip.MustParseAddrPort("192.168.1.99:5000"), "no such address")
		a.fail(t, netip.MustParseAddrPort("10.0.0.1:5000"), "no such address")
	})
}

// The discovery address reaches everybody on the LAN who listens to it, also on the sender's host, and nobody else.
func TestMulticast(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		group := netip.AddrPortFrom(teredo.DiscoveryAddr(), teredo.Port)
		nat := in.NAT(natsim.Cone())
		a, b := nat.Host(), nat.Host()
		for _, h := range []*natsim.Host{a, b, nat.Host(), in.NAT(natsim.Cone()).Host(), in.Host()} {
			h.Listen(group)
			listen(in, h, teredo.Port)
		}
		sender := listen(in, a, 5000)
		var heard []string
		for _, r := range sender.sendOf(t, group, []byte("hello")) {
			if r.Event != natsim.Sent {
				if r.Event != natsim.Received || r.Packet.TTL != 1 || r.Packet.Src != sender.addr() {
					t.Errorf("unexpected: %v", r)
				}
				heard = append(heard, r.Hop)
			}
		}
		if want := []string{"host1", "host2", "host3"}; !slices.Equal(heard, want) {
			t.Errorf("heard by %v, want %v", heard, want)
		}
		public := listen(in, in.Host(), 5000)
		public.fail(t, group, "multicast is not routed")
	})
}

func TestSeveralAddresses(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		h := in.Host()
		first, second := h.Addr(), h.AddAddr()
		out := newOutside(in)
		wild := listen(in, h, 5000)
		if src := wild.reach(t, out.a1.addr()); src.Addr() != first {
			t.Errorf("an unbound socket sends from %v, want %v", src, first)
		}
		bound := endpoint{in, h, h.Listen(netip.AddrPortFrom(second, 6000))}
		if src := bound.reach(t, out.a1.addr()); src.Addr() != second {
			t.Errorf("a bound socket sends from %v, want %v", src, second)
		}
		out.a1.reach(t, netip.AddrPortFrom(second, 5000))
		out.a1.reach(t, netip.AddrPortFrom(second, 6000))
		out.a1.fail(t, netip.AddrPortFrom(first, 6000), "no socket")
	})
}

func TestMoving(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		home, cafe, out := in.NAT(natsim.Cone()), in.NAT(natsim.Cone()), newOutside(in)
		laptop := listen(in, home.Host(), 5000)
		at := laptop.reach(t, out.a1.addr())
		if at.Addr() != home.Addr() {
			t.Errorf("at home it is %v", at)
		}
		laptop.host.Unplug()
		out.a1.fail(t, at, "no such address")
		_, err := laptop.conn.WriteBatch([]udp.Message{{Remote: out.a1.addr()}})
		if !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("sending without a network: %v", err)
		}
		laptop.host.Move(cafe.Network)
		if at := laptop.reach(t, out.a1.addr()); at.Addr() != cafe.Addr() {
			t.Errorf("at the café it is %v", at)
		}
	})
}

func TestRefusedRemotes(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		a := listen(in, in.Host(), 5000)
		b := newOutside(in).a1.addr()
		n, err := a.conn.WriteBatch([]udp.Message{
			{Remote: b}, {Remote: netip.MustParseAddrPort("[2001:db8::1]:1")}, {Remote: netip.AddrPortFrom(b.Addr(), 0)}, {Remote: b},
		})
		if n != 2 || !errors.Is(err, udp.ErrRemote) {
			t.Errorf("sent %d, error %v", n, err)
		}
	})
}

func TestClosing(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		a := listen(in, in.Host(), 5000)
		read := make(chan error)
		go func() {
			_, err := a.conn.ReadBatch(make([]udp.Message, 1))
			read <- err
		}()
		in.Settle()
		if err := a.conn.Close(); err != nil {
			t.Error(err)
		}
		if err := <-read; err == nil {
			t.Error("ReadBatch goes on after Close")
		}
		if err := a.conn.Close(); err == nil {
			t.Error("closing twice succeeds")
		}
		newOutside(in).a1.fail(t, a.addr(), "no socket")
	})
}

// A full receive buffer drops, as the kernel's does.
func TestReceiveBuffer(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		a, b := listen(in, in.Host(), 5000), newOutside(in).a1
		burst := slices.Repeat([]udp.Message{{Remote: b.addr()}}, 5000)
		if n, err := a.conn.WriteBatch(burst); n != len(burst) || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(time.Second)
		dropped := 0
		for _, r := range in.Trace() {
			if r.Why == "receive buffer full" {
				dropped++
			}
		}
		ms := make([]udp.Message, len(burst))
		n, err := b.conn.ReadBatch(ms)
		if err != nil || dropped == 0 || n+dropped != len(burst) {
			t.Errorf("%d received and %d dropped of %d, error %v", n, dropped, len(burst), err)
		}
	})
}
