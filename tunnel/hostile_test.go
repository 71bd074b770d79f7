package tunnel_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// Ten thousand hostile datagrams, random ones and ones that are almost right, to every endpoint that a stranger can reach:
// nobody crashes, no state changes, and packets on established paths are neither lost nor late.
func TestHostileDatagrams(t *testing.T) {
	natsim.Seeds(t, 3, func(t *testing.T, in *natsim.Internet) {
		w := newWorld(t, in)
		nat := w.NAT(natsim.Cone()) // it lets everything in
		a, b, host := w.qualified(nat.Network), w.qualified(w.NAT(natsim.Cone()).Network), w.Native()
		old := a.Addr()
		flows := []*natsim.Stream{a.Stream(b.Addr(), pace, 300), b.Stream(a.Addr(), pace, 300), a.Stream(host.Addr(), pace, 300), host.Stream(a.Addr(), pace, 300)}
		time.Sleep(time.Second)
		attacker := &attacker{Rand: in.Rand(), victims: []netip.AddrPort{
			teredo.Mapped(a.Addr()), teredo.Mapped(b.Addr()), netip.AddrPortFrom(w.relay.Host.Addr(), w.relay.Conn.LocalAddr().Port()),
			netip.AddrPortFrom(w.server.Primary, teredo.Port), netip.AddrPortFrom(w.server.Secondary, teredo.Port),
		}, addresses: []netip.Addr{a.Addr(), b.Addr(), host.Addr(), teredo.ServerLinkLocal(w.server.Primary), teredo.AllRouters(), netip.MustParseAddr("fe80::1")}}
		for range 10000 {
			from, to, payload := attacker.datagram()
			w.Spoof(from, to, payload)
			time.Sleep(2 * time.Millisecond)
		}
		for _, f := range flows {
			checkFlowOf(t, f, clientToNative, viaRelay, 10*time.Second)
		}
		if s := a.Status(); s.State != "qualified" || s.Address != old || len(a.PastAddrs()) != 1 {
			t.Errorf("status %+v", s)
		}
		for _, s := range []*natsim.Stack{a.Stack, b.Stack, host.Stack} {
			for _, r := range s.Received() {
				if teredo.CheckIPv6(r.Packet) != nil {
					t.Errorf("delivered a malformed packet %x", r.Packet)
				}
			}
		}
	})
}

// attacker makes up datagrams. It sees nothing of what others send.
type attacker struct {
	*rand.Rand
	victims   []netip.AddrPort
	addresses []netip.Addr // to put into the packets
}

func (a *attacker) datagram() (from, to netip.AddrPort, payload []byte) {
	from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 19, byte(a.IntN(256)), byte(a.IntN(256))}), uint16(a.IntN(1<<16)))
	if a.IntN(4) == 0 {
		from = a.victims[a.IntN(len(a.victims))] // to seem to be another one
	}
	to = a.victims[a.IntN(len(a.victims))]
	if to == from {
		from = netip.AddrPortFrom(from.Addr(), from.Port()+1)
	}
	return from, to, a.payload()
}

func (a *attacker) payload() []byte {
	if a.IntN(4) == 0 {
		return a.bytes(a.IntN(1500))
	}
	src, dst := a.addresses[a.IntN(len(a.addresses))], a.addresses[a.IntN(len(a.addresses))]
	if a.IntN(2) == 0 {
		src = netip.AddrFrom16([16]byte(append([]byte{0x20, 0x01, 0, 0}, a.bytes(12)...)))
	}
	var b []byte
	if a.IntN(3) == 0 {
		b = teredo.AppendAuth(b, teredo.Auth{Nonce: [8]byte(a.bytes(8)), ClientID: a.bytes(a.IntN(3))})
	}
	if a.IntN(3) == 0 {
		b = teredo.AppendOrigin(b, netip.AddrPortFrom(netip.AddrFrom4([4]byte(a.bytes(4))), uint16(a.IntN(1<<16))))
	}
	b = a.packet(b, src, dst)
	switch a.IntN(4) {
	case 0:
		b[a.IntN(len(b))] ^= 1 << a.IntN(8)
	case 1:
		b = b[:a.IntN(len(b))]
	case 2:
		b = append(b, a.bytes(a.IntN(50))...)
	}
	return b
}

// packet appends an IPv6 packet of a kind that means something to somebody.
func (a *attacker) packet(b []byte, src, dst netip.Addr) []byte {
	switch a.IntN(6) {
	case 0:
		return teredo.AppendBubble(b, src, dst, 255)
	case 1:
		return teredo.AppendEchoRequest(b, src, dst, uint16(a.IntN(1<<16)), 1, a.bytes(8))
	case 2:
		return teredo.AppendEchoReply(b, src, teredo.AppendEchoRequest(nil, dst, src, uint16(a.IntN(1<<16)), 1, a.bytes(8)))
	case 3:
		return teredo.AppendRouterSolicitation(b, teredo.ClientLinkLocal(a.IntN(2) == 0, netip.AddrPort{}))
	case 4:
		return teredo.AppendRouterAdvertisement(b, netip.AddrFrom4([4]byte(a.bytes(4))), teredo.ClientLinkLocal(false, netip.AddrPort{}))
	}
	size := a.IntN(100)
	start := len(b)
	b = append(teredo.AppendBubble(b, src, dst, 64), a.bytes(size)...)
	binary.BigEndian.PutUint16(b[start+4:], uint16(size))
	b[start+6] = 17
	return b
}

func (a *attacker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(a.Uint32())
	}
	return b
}

// While the control goroutine is held up, hostile datagrams of each kind come. The workers drop those that mean nothing, and the rest
// take no room from what the local stack wants: a live flow and the search for a new peer lose nothing (SEC-DOS-01).
func TestOverload(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		const each, strangersRoom, serverRoom = 2000, 64, 128
		var hold atomic.Bool
		a := w.Client(w.server, func(cfg *tunnel.ClientConfig) {
			local := cfg.Local
			cfg.Local = func(server netip.Addr) netip.AddrPort { // the control goroutine calls it
				if hold.Load() {
					time.Sleep(5 * time.Second)
				}
				return local(server)
			}
		})
		a.AwaitAddr(time.Minute)
		live, fresh := w.qualified(w.Network), w.qualified(w.NAT(natsim.PortRestricted()).Network)
		flows := []*natsim.Stream{a.Stream(live.Addr(), pace, 200), live.Stream(a.Addr(), pace, 200)}
		time.Sleep(time.Second)
		heldUp := make(chan error)
		hold.Store(true)
		go func() {
			heldUp <- a.Tunnel.NetworkChanged(t.Context(), tunnel.Network{})
		}()
		time.Sleep(time.Second)
		server := netip.AddrPortFrom(w.server.Primary, teredo.Port)
		for n := range each {
			madeUp := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 19, byte(n >> 8), byte(n)}), 4000)
			peer := teredo.Address{Server: w.server.Primary, Mapped: madeUp}.Addr()
			for _, d := range []struct {
				from    netip.AddrPort
				payload []byte
			}{
				{madeUp, []byte{1}},
				{madeUp, teredo.AppendBubble(nil, peer, live.Addr(), 255)},
				{madeUp, teredo.AppendBubble(nil, peer, a.Addr(), 255)},
				{server, teredo.AppendBubble(nil, peer, a.Addr(), 255)},
			} {
				w.Spoof(d.from, teredo.Mapped(a.Addr()), d.payload)
			}
		}
		flows = append(flows, a.Stream(fresh.Addr(), pace, 20))
		if err := <-heldUp; err != nil {
			t.Fatal(err)
		}
		for _, f := range flows {
			f.Wait(time.Second)
			if lost := f.Lost(); len(lost) > 0 {
				t.Errorf("lost %v", lost)
			}
		}
		drops := a.Status().Drops
		for reason, want := range map[string]uint64{
			"malformed": each, "destination": each, "overload": 2*each - strangersRoom - serverRoom,
		} {
			if drops[reason] != want {
				t.Errorf("%s: %d dropped, want %d; all: %v", reason, drops[reason], want, drops)
			}
		}
	})
}

// More packets than a peer's queue holds are dropped and counted (C-TX-09); those in the queue are not lost.
func TestQueueFull(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		const sent, room = 100, 32
		a, b := w.qualified(w.NAT(natsim.PortRestricted()).Network), w.qualified(w.NAT(natsim.PortRestricted()).Network)
		f := a.Stream(b.Addr(), time.Microsecond, sent)
		f.Wait(time.Second)
		lost := f.Lost()
		if len(lost) != sent-room || lost[0] != room || !f.InOrder() {
			t.Errorf("lost %v", lost)
		}
		if drops := a.Status().Drops; drops["queue-full"] != sent-room {
			t.Errorf("dropped %v", drops)
		}
	})
}

// An interface that cannot be configured is tried again; the status tells, and no packet passes meanwhile.
func TestConfigureFails(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		failures := 3
		c := w.Client(w.server, func(cfg *tunnel.ClientConfig) {
			configure := cfg.Configure
			cfg.Configure = func(old, new netip.Addr) error {
				if failures--; failures >= 0 {
					return errors.New("no such device")
				}
				return configure(old, new)
			}
		})
		time.Sleep(time.Second)
		if s := c.Status(); s.LastError != "no such device" {
			t.Errorf("status %+v", s)
		}
		c.AwaitAddr(time.Minute)
		if want := qualification + 3*5*time.Second; w.Now() != want {
			t.Errorf("configured at %v, want %v", w.Now(), want)
		}
		if s := c.Status(); s.LastError != "" {
			t.Errorf("status %+v", s)
		}
	})
}
