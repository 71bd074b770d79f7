package tunnel_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// flooding calls send for each number below count, every so often, and runs honest meanwhile.
func flooding(count int, every time.Duration, send func(n int), honest func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range count {
			send(n)
			time.Sleep(every)
		}
	}()
	honest()
	<-done
}

// bubbleOf is an indirect bubble of the n-th client that names the server, at a mapping, with a nonce and alternate addresses.
func strangersBubble(n int, server netip.Addr, mapped netip.AddrPort, to netip.Addr, alternates ...netip.AddrPort) []byte {
	src := teredo.Address{Server: server, Flags: uint16(n) & teredo.FlagRandomMask, Mapped: mapped}.Addr()
	b := teredo.AppendBubble(nil, src, to, 255)
	b = teredo.AppendNonceTrailer(b, [4]byte(binary.BigEndian.AppendUint32(nil, uint32(n+1))))
	return teredo.AppendAlternateAddressTrailer(b, alternates...)
}

// SEC-NOAMP-01, X-HP-04: bubbles through the client's server with four alternate addresses, whose sources name a victim as their
// server, make a client behind a port-restricted NAT send next to nothing: to the victim, to the attacker, or to the owners of
// forged mappings. Meanwhile it finds peers, native hosts find it, and, unless the attacker forges, clients it has never heard of find it, too.
func TestClientIsNoAmplifier(t *testing.T) {
	const flood, every = 25_000, 400 * time.Microsecond
	for _, forged := range []bool{false, true} {
		t.Run(fmt.Sprintf("forged %t", forged), func(t *testing.T) {
			scenario(t, func(t *testing.T, w *world) {
				extended := func(cfg *tunnel.ClientConfig) { cfg.Extensions = allExtensions() }
				c := w.NAT(natsim.PortRestricted()).Client(w.server, extended)
				c.AwaitAddr(time.Minute)
				var friends []*natsim.Client
				for range 20 {
					friends = append(friends, w.NAT(natsim.PortRestricted()).Client(w.server, extended))
				}
				for _, f := range friends {
					f.AwaitAddr(time.Minute)
				}
				victim, attacker := w.Host(), w.Host()
				conn := attacker.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 4000))
				at := netip.AddrPortFrom(attacker.Addr(), 4000)
				server := netip.AddrPortFrom(w.server.Primary, teredo.Port)
				var bytesIn int
				start := w.Now()
				flooding(flood, every, func(n int) {
					mapped := at
					if forged {
						mapped = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 19, byte(n >> 8), byte(n)}), 4000)
					}
					var alternates []netip.AddrPort
					for port := range uint16(4) {
						alternates = append(alternates, netip.AddrPortFrom(victim.Addr(), 5000+port))
					}
					b := strangersBubble(n, victim.Addr(), mapped, c.Addr(), alternates...)
					bytesIn += len(b)
					if forged {
						w.Spoof(mapped, server, b)
					} else if _, err := conn.WriteBatch([]udp.Message{{Buf: b, N: len(b), Remote: server}}); err != nil {
						t.Error(err)
					}
				}, func() {
					for i, f := range friends {
						from, to := c, f
						if i%2 == 1 && !forged {
							from, to = f, c
						}
						from.Send(to.Addr(), fmt.Sprint("hello", i))
						if got, ok := to.Await(3 * time.Second); !ok || got.Data() != fmt.Sprint("hello", i) {
							t.Errorf("honest contact %d failed", i)
						}
						host := w.Native()
						c.Send(host.Addr(), "hello")
						if _, ok := host.Await(3 * time.Second); !ok {
							t.Errorf("contact with native host %d failed", i)
						}
						host = w.Native()
						host.Send(c.Addr(), "hello")
						if _, ok := c.Await(3 * time.Second); !ok {
							t.Errorf("contact of native host %d failed", i)
						}
					}
				})
				t.Logf("the honest ones and the flood took %v", w.Now()-start)
				time.Sleep(10 * time.Second)
				out, bytesOut, toVictim := 0, 0, 0
				mine := teredo.Mapped(c.Addr())
				for _, r := range w.Trace() {
					to := r.Packet.Dst.Addr()
					if r.Event != natsim.Sent || r.At < start || r.Hop != c.Host.Name() && r.Packet.Src != mine {
						continue
					}
					if to == victim.Addr() || to == attacker.Addr() || forged && to.As4()[1] == 19 {
						out, bytesOut = out+1, bytesOut+len(r.Packet.Payload)
						if to == victim.Addr() {
							toVictim++
						}
					}
				}
				t.Logf("%d datagrams of %d bytes in, %d of %d bytes out, %d of them to the victim", flood, bytesIn, out, bytesOut, toVictim)
				spent := map[bool]string{false: "entries", true: "bubbles"}[forged]
				if s := c.Status(); s.Exhausted[spent] < flood/2 || s.StrangerDatagrams < uint64(out) {
					t.Errorf("status tells of %d datagrams, and %v", s.StrangerDatagrams, s.Exhausted)
				}
				if out > flood/25 || bytesOut > bytesIn {
					t.Errorf("%d datagrams left", out)
				}
			})
		})
	}
}

// SEC-NOAMP-01, R-DOS-01, R-TX-06: native packets to made-up clients of one victim make a relay send next to nothing to the victim.
// Meanwhile other hosts have their first contact with clients of other servers.
func TestRelayIsNoAmplifier(t *testing.T) {
	const flood, every, contacts = 100_000, 100 * time.Microsecond, 30
	for _, networks := range []int{1, 1 << 16} {
		t.Run(fmt.Sprintf("from %d networks", networks), func(t *testing.T) {
			scenario(t, func(t *testing.T, w *world) {
				relay := w.Relay(func(cfg *tunnel.RelayConfig) { cfg.Capacity = 1 << 16 })
				victim, attacker := w.Host(), w.Native()
				attacker.Via(relay)
				var clients []*natsim.Client
				for range contacts {
					clients = append(clients, w.NAT(natsim.PortRestricted()).Client(w.server))
				}
				for _, c := range clients {
					c.AwaitAddr(time.Minute)
				}
				worked := 0
				flooding(flood, every, func(n int) {
					src := netip.MustParseAddr("2001:db8:bad::1").As16()
					binary.BigEndian.PutUint16(src[6:], uint16(n%networks))
					dst := teredo.Address{
						Server: victim.Addr(), Mapped: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 19, byte(n >> 8), byte(n)}), uint16(1024+n>>8)),
					}.Addr()
					attacker.SendPacket(teredo.AppendBubble(nil, netip.AddrFrom16(src), dst, 64))
				}, func() {
					for _, c := range clients {
						host := w.Native()
						host.Via(relay)
						host.Send(c.Addr(), "hello")
						if _, ok := c.Await(3 * time.Second); ok {
							worked++
						}
					}
				})
				time.Sleep(20 * time.Second)
				sent := len(w.Sent(func(p natsim.Packet) bool { return p.Dst.Addr() == victim.Addr() }))
				t.Logf("%d packets in, %d bubbles to the victim; %d of %d honest contacts worked", flood, sent, worked, contacts)
				if s := relay.Status(); s.Exhausted["target"]+s.Exhausted["source"] < flood/2 || s.StrangerDatagrams < uint64(sent) {
					t.Errorf("status tells of %d datagrams, and %v", s.StrangerDatagrams, s.Exhausted)
				}
				if sent > flood/100 {
					t.Errorf("%d bubbles to the victim", sent)
				}
				if worked < contacts*9/10 {
					t.Errorf("%d of %d honest contacts worked", worked, contacts)
				}
			})
		})
	}
}
