package tunnel_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// nativeWorld is an internet without a route to 2001::/32. The clients of its server have native addresses.
type nativeWorld struct {
	*world
	natives teredo.NativePrefixes
}

func newNativeWorld(t *testing.T, in *natsim.Internet, options ...func(*tunnel.RelayConfig)) *nativeWorld {
	t.Helper()
	prefix := netip.MustParsePrefix("3fff:1:2:3::/64")
	srv := in.Server(natsim.ServerNative(prefix))
	p, err := teredo.NewNativePrefix(srv.Primary, prefix)
	if err != nil {
		t.Fatal(err)
	}
	w := &nativeWorld{&world{Internet: in, t: t, server: srv}, teredo.NativePrefixes{p}}
	w.relay = w.translator(options...)
	return w
}

// translator adds a relay that translates.
func (w *nativeWorld) translator(options ...func(*tunnel.RelayConfig)) *natsim.Relay {
	return w.Relay(append(options, func(cfg *tunnel.RelayConfig) { cfg.Natives = w.natives })...)
}

// native is the native address of a client.
func (w *nativeWorld) native(c *natsim.Client) netip.Addr {
	w.t.Helper()
	a, ok := w.natives.Native(c.Addr())
	if !ok {
		w.t.Fatalf("%v has no native address", c.Addr())
	}
	return a
}

// any returns a client that has its address, and can have it behind any NAT.
func (w *nativeWorld) any(n *natsim.Network) *natsim.Client {
	w.t.Helper()
	c := n.Client(w.server, func(cfg *tunnel.ClientConfig) { cfg.Extensions = allExtensions() })
	c.AwaitAddr(time.Minute)
	return c
}

// receives takes the next packet that a stack receives, which must be the data from a source.
func (w *nativeWorld) receives(s *natsim.Stack, data string, from netip.Addr) {
	w.t.Helper()
	if got := s.Next(20 * time.Second); got.Data() != data || got.Source() != from {
		w.t.Errorf("received %s %q from %v, want %q from %v", got.Kind(), got.Data(), got.Source(), data, from)
	}
}

// nats are all kinds of networks that our client works in.
func nats() []place {
	return append(places(), place{"symmetric", func(in *natsim.Internet) *natsim.Network { return in.NAT(natsim.Symmetric()).Network }})
}

func nativeScenario(t *testing.T, f func(t *testing.T, w *nativeWorld)) {
	t.Helper()
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) { f(t, newNativeWorld(t, in)) })
}

// R-TX-01: without a route to 2001::/32 every client and a native host reach each other at the client's native address, whoever begins.
func TestNativeAddress(t *testing.T) {
	for _, p := range nats() {
		for _, inbound := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, inbound %v", p.name, inbound), func(t *testing.T) {
				natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
					w := newNativeWorld(t, in)
					c, host := w.any(p.make(in)), in.Native()
					there, back := c.Stack, host.Stack
					to, from := host.Addr(), w.native(c)
					if inbound {
						there, back, to, from = back, there, from, to
					}
					there.Ping(to, "ping")
					w.receives(there, "ping", to)
					there.Send(to, "data")
					w.receives(back, "data", from)
					sent, received := there.Stream(to, 10*time.Millisecond, 100), back.Stream(from, 10*time.Millisecond, 100)
					sent.Wait(5 * time.Second)
					received.Wait(5 * time.Second)
					if lost := len(sent.Lost()) + len(received.Lost()); lost > 0 {
						t.Errorf("%d packets of 200 are lost", lost)
					}
				})
			})
		}
	}
}

// A client learns its native address from a server that has a native prefix. It tells both addresses together, when they are known and
// when they are gone. With another server it has only its Teredo address.
func TestNativeAddressKnown(t *testing.T) {
	for _, translated := range []bool{true, false} {
		t.Run(fmt.Sprintf("translated %v", translated), func(t *testing.T) {
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
				w := newNativeWorld(t, in)
				server := w.server
				if !translated {
					server = in.Server()
				}
				var told []string
				c := in.NAT(natsim.PortRestricted()).Client(server, func(cfg *tunnel.ClientConfig) {
					cfg.NativeAddress = true
					cfg.Addresses = func(address, native netip.Addr) { told = append(told, fmt.Sprint(address, " ", native)) }
				})
				addr := c.AwaitAddr(time.Minute)
				time.Sleep(time.Minute)
				var native netip.Addr
				if translated {
					native = w.native(c)
				}
				if s := c.Status(); s.NativeAddress != native {
					t.Errorf("native address %v, want %v", s.NativeAddress, native)
				}
				server.Stop()
				c.AwaitNoAddr(refreshInterval + noAnswer)
				if s := c.Status(); s.NativeAddress.IsValid() {
					t.Errorf("offline, native address %v", s.NativeAddress)
				}
				want := []string{fmt.Sprint(addr, " ", native), fmt.Sprint(netip.Addr{}, " ", netip.Addr{})}
				if !slices.Equal(told, want) {
					t.Errorf("told %q, want %q", told, want)
				}
			})
		})
	}
}

// atNativeAddresses has two clients exchange packets at their native addresses, for TestMatrix. It returns how long the first one
// took, 0 when it did not arrive.
func atNativeAddresses(t *testing.T, from, to natKind) (took time.Duration) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		w := newNativeWorld(t, in)
		a, _ := from.behind(in.Network, w.server, allExtensions())
		b, _ := to.behind(in.Network, w.server, allExtensions())
		time.Sleep(10 * time.Second)
		nativeA, nativeB := w.native(a), w.native(b)
		began := w.Now()
		a.Send(nativeB, "data")
		got, ok := b.Await(connectWithin)
		if !ok || got.Data() != "data" || got.Source() != nativeA {
			return
		}
		took = got.At - began
		b.Send(nativeA, "answer")
		w.receives(a.Stack, "answer", nativeB)
		b.Ping(nativeA, "ping")
		w.receives(b.Stack, "ping", nativeA)
		sent, received := a.Stream(nativeB, 10*time.Millisecond, 100), b.Stream(nativeA, 10*time.Millisecond, 100)
		sent.Wait(5 * time.Second)
		received.Wait(5 * time.Second)
		if lost := len(sent.Lost()) + len(received.Lost()); lost > 0 {
			t.Errorf("%d packets of 200 are lost", lost)
		}
	})
	return took
}

// Two relays that share nothing carry the flows of one client, each those of another host, and those of two clients.
func TestTwoTranslatingRelays(t *testing.T) {
	nativeScenario(t, func(t *testing.T, w *nativeWorld) {
		second := w.translator()
		c, near, far := w.qualified(w.NAT(natsim.PortRestricted()).Network), w.Native(), w.Native()
		far.Via(second)
		for range 2 {
			c.Send(near.Addr(), "near")
			w.receives(near.Stack, "near", w.native(c))
			c.Send(far.Addr(), "far")
			w.receives(far.Stack, "far", w.native(c))
			near.Send(w.native(c), "from near")
			w.receives(c.Stack, "from near", near.Addr())
			far.Send(w.native(c), "from far")
			w.receives(c.Stack, "from far", far.Addr())
			near.Via(second) // which knows the client, but not its packets with this host
			far.Via(w.relay)
		}
	})
}

// Errors cross in both directions, with the addresses that their receiver knows, and right checksums.
func TestNativeErrors(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		host, router := in.Native(), in.Native()
		w := newNativeWorld(t, in, func(cfg *tunnel.RelayConfig) { cfg.Network.Errors = router.Addr() })
		c := w.qualified(w.NAT(natsim.PortRestricted()).Network)
		native := w.native(c)
		c.Send(host.Addr(), "large")
		sent := host.Next(20 * time.Second).Packet
		host.Send(native, "other")
		got := c.Next(20 * time.Second).Packet

		// A router on the way to the host has a small MTU.
		tooBig := teredo.AppendUnreachable(nil, router.Addr(), 0, sent)
		tooBig[teredo.HeaderLen] = 2 // Packet Too Big; only the type differs, and the checksum by as much
		tooBig[teredo.HeaderLen+2] -= 1
		router.SendPacket(tooBig)
		checkQuote(t, c.Next(20*time.Second).Packet, router.Addr(), c.Addr(), c.Addr(), host.Addr())

		// Nothing listens at the client.
		c.SendPacket(teredo.AppendUnreachable(nil, c.Addr(), teredo.UnreachablePort, got))
		checkQuote(t, host.Next(20*time.Second).Packet, native, host.Addr(), host.Addr(), native)

		// A client that is not there any more: the relay says so itself, of the address that the sender knows.
		gone := c.Addr().As16()
		gone[11] ^= 1 // another port
		goneNative, _ := w.natives.Native(netip.AddrFrom16(gone))
		began := w.Now()
		host.Send(goneNative, "anybody?")
		e := host.Next(20 * time.Second)
		if took := e.At - began; took > 10*time.Second {
			t.Errorf("the host learns after %v that there is no such client", took)
		}
		checkQuote(t, e.Packet, teredo.Source(e.Packet), host.Addr(), host.Addr(), goneNative)

		// The same between two clients.
		c.Send(goneNative, "anybody?")
		e = c.Next(20 * time.Second)
		checkQuote(t, e.Packet, teredo.Source(e.Packet), c.Addr(), c.Addr(), goneNative)

		// An address that no client can have is no address at once.
		nobody := netip.MustParseAddr("3fff:1:2:3::1")
		host.Send(nobody, "anybody?")
		e = host.Next(100 * time.Millisecond)
		checkQuote(t, e.Packet, teredo.Source(e.Packet), host.Addr(), host.Addr(), nobody)
	})
}

// checkQuote checks the addresses of an ICMPv6 error and of the packet that it quotes.
func checkQuote(t *testing.T, packet []byte, src, dst, quotedSrc, quotedDst netip.Addr) {
	t.Helper()
	if teredo.NextHeader(packet) != 58 || packet[teredo.HeaderLen] >= 128 {
		t.Fatalf("% x is no ICMPv6 error", packet)
	}
	q := packet[teredo.HeaderLen+8:]
	if teredo.Source(packet) != src || teredo.Destination(packet) != dst || teredo.Source(q) != quotedSrc || teredo.Destination(q) != quotedDst {
		t.Errorf("an error from %v to %v about a packet from %v to %v, want from %v to %v about one from %v to %v",
			teredo.Source(packet), teredo.Destination(packet), teredo.Source(q), teredo.Destination(q), src, dst, quotedSrc, quotedDst)
	}
}

// R-RX-04: a packet between clients passes a router, the relay. Where the hop limit ends there, the kernel gets the packet, and says so.
func TestHopLimitBetweenClients(t *testing.T) {
	nativeScenario(t, func(t *testing.T, w *nativeWorld) {
		a, b := w.qualified(w.Network), w.qualified(w.Network)
		a.Send(w.native(b), "hello")
		packet := b.Next(20 * time.Second).Packet
		if got := packet[7]; got != 63 {
			t.Errorf("the hop limit is %d, want 63", got)
		}
	})
}

// What comes from the native side with a client's native address is made up: only a server sends from there, for the tests of
// its clients. The relay answers these by itself, so all that can be made up is an answer to the client that has the address.
func TestNativeAddressMadeUp(t *testing.T) {
	nativeScenario(t, func(t *testing.T, w *nativeWorld) {
		a, b, attacker := w.qualified(w.Network), w.qualified(w.Network), w.Native()
		a.Send(attacker.Addr(), "hello") // so the relay knows the client
		w.receives(attacker.Stack, "hello", w.native(a))
		attacker.Send(w.native(a), "forged")
		packet := append([]byte(nil), a.Next(20*time.Second).Packet...)
		native, spoofed := w.native(a).As16(), w.native(b).As16()
		copy(packet[8:], spoofed[:])
		copy(packet[24:], native[:])
		attacker.SendPacket(packet)
		attacker.SendPacket(teredo.AppendEchoRequest(nil, w.native(b), w.native(a), 1, 1, []byte("forged")))
		time.Sleep(20 * time.Second)
		if got := a.Received(); len(got) > 0 {
			t.Errorf("the client has received %d packets, such as %s %q", len(got), got[0].Kind(), got[0].Data())
		}
		if got := b.Received(); len(got) != 1 || got[0].Kind() != "echo reply" {
			t.Errorf("the client whose address was used has received %d packets", len(got))
		}
		if n := w.relay.Status().Drops["source"]; n == 0 {
			t.Errorf("the relay has dropped %v", w.relay.Status().Drops)
		}
	})
}

// A scan of the prefix from one /64 has the relay send no more bubbles than the budgets allow, and remember no more clients than it
// has room for. Meanwhile others reach clients that the relay does not know yet, and these reach others.
func TestScan(t *testing.T) {
	const (
		addresses = 1_000_000
		burst     = 250 // what a TUN device holds
		honest    = 30
	)
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		w := newNativeWorld(t, in, func(cfg *tunnel.RelayConfig) { cfg.Capacity = 4096 }) // the least that the command has
		var clients []*natsim.Client
		for range honest {
			clients = append(clients, w.Client(w.server))
		}
		time.Sleep(10 * time.Second)
		host, attacker := w.Native(), w.Native()
		random := w.Rand()
		to := w.native(clients[0]).As16()
		began, answered := w.Now(), 0
		for i := range addresses {
			for j := 8; j < 16; j++ {
				to[j] = byte(random.Uint32())
			}
			attacker.SendPacket(teredo.AppendEchoRequest(nil, netip.MustParseAddr("2001:db8:ffff::1"), netip.AddrFrom16(to), 1, 1, nil))
			if i%burst == burst-1 {
				time.Sleep(time.Millisecond)
			}
			if n := i / (addresses / honest); i%(addresses/honest) == 0 && n < honest {
				if c := clients[n]; n%2 == 0 {
					host.Ping(w.native(c), "ping")
				} else {
					c.Ping(host.Addr(), "ping")
				}
			}
		}
		seconds := (w.Now() - began).Seconds()
		s := w.relay.Status()
		if caused, most := s.StrangerDatagrams, 1000*(1+seconds); float64(caused) > most {
			t.Errorf("%d bubbles in %.1f s, more than %.0f", caused, seconds, most)
		}
		if s.Peers > s.Capacity {
			t.Errorf("the relay remembers %d clients of %d", s.Peers, s.Capacity)
		}
		time.Sleep(10 * time.Second)
		for _, c := range clients {
			answered += len(c.Received())
		}
		if answered += len(host.Received()); answered != honest {
			t.Errorf("%d of %d honest pings are answered", answered, honest)
		}
		t.Logf("%d addresses in %.1f s: %d bubbles, %d clients remembered, drops %v", addresses, seconds, s.StrangerDatagrams, s.Peers, s.Drops)
	})
}
