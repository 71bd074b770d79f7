package tunnel_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// These tests are attacks on paths: somebody sends in a peer's name, so that packets for the peer go elsewhere. While they go on,
// what is established stays, and honest peers find each other.

// with has a client use some extensions of RFC 6081.
func with(e peer.Extensions) func(*tunnel.ClientConfig) {
	return func(cfg *tunnel.ClientConfig) { cfg.Extensions = e }
}

// attacked is a client with all extensions behind a NAT that keeps nobody out, and a peer, with packets going both ways.
func attacked(w *world, peerNAT natsim.NATConfig, e peer.Extensions) (a, b *natsim.Client) {
	a, b = w.NAT(natsim.Cone()).Client(w.server, withExtensions), w.NAT(peerNAT).Client(w.server, with(e))
	a.AwaitAddr(time.Second)
	b.AwaitAddr(time.Minute)
	time.Sleep(15 * time.Second) // b's NAT is known, too
	a.Send(b.Addr(), "hello")
	b.Next(10 * time.Second)
	b.Send(a.Addr(), "answer")
	a.Next(10 * time.Second)
	return a, b
}

// noncesTo are the nonces of all indirect bubbles from one client to another, as somebody sees them who reads them on their way.
func (w *world) noncesTo(from *natsim.Client, to netip.Addr) (nonces [][4]byte) {
	for _, r := range w.Sent(natsim.Kind("bubble")) {
		var p teredo.Packet
		if r.Hop != from.Host.Name() || r.Packet.Dst.Port() != teredo.Port || p.Parse(r.Packet.Payload) != nil || teredo.Destination(p.IPv6) != to {
			continue
		}
		for rest := p.Trailers; ; {
			t, next, ok := teredo.NextTrailer(rest)
			if !ok {
				break
			}
			if nonce, ok := t.Nonce(); ok {
				nonces = append(nonces, nonce)
			}
			rest = next
		}
	}
	return nonces
}

// bubbleOf is a bubble with a nonce.
func bubbleOf(src, dst netip.Addr, nonce [4]byte) []byte {
	return teredo.AppendNonceTrailer(teredo.AppendBubble(nil, src, dst, 255), nonce)
}

// checkKept checks that a flow has lost nothing.
func checkKept(t *testing.T, flows ...*natsim.Stream) {
	t.Helper()
	for n, f := range flows {
		if lost := f.Lost(); len(lost) > 0 {
			t.Errorf("flow %d has lost %d packets, the first of them %d", n, len(lost), lost[0])
		}
	}
}

// X-SNS-08, C-RX-18: a nonce that somebody has seen on its way moves no live path: not while it counts, for the path in use is tested first, and
// not later. Miredo, like a peer without extensions, never uses it up.
func TestSniffedNonce(t *testing.T) {
	for name, c := range map[string]struct {
		nat natsim.NATConfig
		e   peer.Extensions
	}{
		"a peer that knows no nonces": {natsim.Restricted(), peer.Extensions{}},
		"behind a symmetric NAT":      {natsim.Symmetric(), allExtensions()},
		"behind a port-preserving":    {natsim.PortPreserving(), allExtensions()},
	} {
		for _, after := range []time.Duration{0, 5 * time.Second, 75 * time.Second} {
			t.Run(fmt.Sprintf("%s, after %v", name, after), func(t *testing.T) {
				scenario(t, func(t *testing.T, w *world) {
					a, b := attacked(w, c.nat, c.e)
					f := a.Stream(b.Addr(), pace, 1200) // without an answer, which would tell the path
					time.Sleep(after)
					nonces := w.noncesTo(a, b.Addr())
					if len(nonces) == 0 {
						t.Fatal("no nonce was sent")
					}
					thief := netip.AddrPortFrom(w.Host().Addr(), 4000)
					for _, nonce := range nonces {
						w.Spoof(thief, teredo.Mapped(a.Addr()), bubbleOf(b.Addr(), a.Addr(), nonce))
					}
					f.Wait(time.Second)
					checkKept(t, f)
				})
			})
		}
	}
}

// A-09, C-RX-12: bubbles that seem to come from the mapping in its address do not cut off a peer behind a symmetric NAT.
func TestForgedMapping(t *testing.T) {
	for name, nat := range map[string]natsim.NATConfig{"symmetric": natsim.Symmetric(), "port-preserving": natsim.PortPreserving(), "sequential": natsim.Sequential()} {
		for _, every := range []time.Duration{time.Hour, time.Second} {
			t.Run(fmt.Sprintf("%s, every %v", name, every), func(t *testing.T) {
				scenario(t, func(t *testing.T, w *world) {
					a, b := attacked(w, nat, allExtensions())
					forth, back := a.Stream(b.Addr(), pace, 600), b.Stream(a.Addr(), pace, 600)
					for at := time.Duration(0); at < time.Minute; at += every {
						w.Spoof(teredo.Mapped(b.Addr()), teredo.Mapped(a.Addr()), teredo.AppendBubble(nil, b.Addr(), a.Addr(), 255))
						time.Sleep(min(every, time.Minute))
					}
					forth.Wait(time.Second)
					checkKept(t, forth, back)
					c := w.NAT(natsim.Symmetric()).Client(w.server, withExtensions)
					c.AwaitAddr(time.Minute)
					time.Sleep(15 * time.Second)
					a.Send(c.Addr(), "hello")
					if got := c.Next(5 * time.Second); got.Data() != "hello" {
						t.Errorf("received %s %q", got.Kind(), got.Data())
					}
				})
			})
		}
	}
}

// A bubble that is made up in the midst of a search costs its packets and the two seconds of a test, not more: the nonce tells where the
// peer really is.
func TestForgedMappingInSearch(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a, b := w.NAT(natsim.Cone()).Client(w.server, withExtensions), w.NAT(natsim.Symmetric()).Client(w.server, withExtensions)
		a.AwaitAddr(time.Second)
		b.AwaitAddr(time.Minute)
		time.Sleep(15 * time.Second)
		f := a.Stream(b.Addr(), pace, 300)
		time.Sleep(hop)
		w.Spoof(teredo.Mapped(b.Addr()), teredo.Mapped(a.Addr()), teredo.AppendBubble(nil, b.Addr(), a.Addr(), 255))
		f.Wait(time.Second)
		if lost := f.Lost(); len(lost) > int((timeout+2*clientToClient)/pace) {
			t.Errorf("lost %d packets", len(lost))
		}
	})
}

// impostor is a host of a LAN that says in local discovery that it is somebody else, and goes on saying so until the end.
type impostor struct {
	*natsim.Conn
	name  string
	ended chan struct{}
}

func (i *impostor) stop() {
	i.Close()
	<-i.ended
}

func (w *world) impostor(lan *natsim.Network, victim *natsim.Client, as netip.Addr) *impostor {
	h := lan.Host()
	i := &impostor{Conn: h.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 4000)), name: h.Name(), ended: make(chan struct{})}
	to := netip.AddrPortFrom(victim.Host.Addr(), victim.Conn.LocalAddr().Port())
	go func() {
		defer close(i.ended)
		for {
			announcement := teredo.AppendBubble(nil, as, teredo.AllNodes(), 1)
			greeting := bubbleOf(as, victim.Addr(), [4]byte{1, 2, 3, 4})
			_, err := i.WriteBatch([]udp.Message{
				{Buf: announcement, N: len(announcement), Remote: netip.AddrPortFrom(teredo.DiscoveryAddr(), teredo.Port)},
				{Buf: greeting, N: len(greeting), Remote: to},
			})
			if err != nil {
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
	}()
	return i
}

// taken counts the pings for somebody else that an impostor got.
func (w *world) taken(i *impostor) (n int) {
	for _, r := range w.Trace() {
		if r.Event == natsim.Received && r.Hop == i.name && r.Packet.Kind() == "echo request" {
			n++
		}
	}
	return n
}

// C-LOC-06, C-LOC-08, C-RX-14: an impostor on the LAN takes over no live path. Where there is none, it may get what is sent before the
// peer has proven through its server where it is, and nothing after.
func TestImpostor(t *testing.T) {
	for _, live := range []bool{true, false} {
		for name, kind := range map[string]natsim.NATConfig{"restricted": natsim.Restricted(), "symmetric": natsim.Symmetric()} {
			t.Run(fmt.Sprintf("%s, live %v", name, live), func(t *testing.T) {
				scenario(t, func(t *testing.T, w *world) {
					nat := w.NAT(natsim.Restricted())
					a, b := nat.Client(w.server, withExtensions), w.NAT(kind).Client(w.server, withExtensions)
					a.AwaitAddr(time.Second)
					b.AwaitAddr(time.Minute)
					time.Sleep(15 * time.Second)
					if live {
						a.Send(b.Addr(), "hello")
						b.Next(10 * time.Second)
						time.Sleep(3 * time.Second)
					}
					i := w.impostor(nat.Network, a, b.Addr())
					defer i.stop()
					const pings = 25
					answers := 0
					for n := range pings {
						a.Ping(b.Addr(), "ping")
						if n == 0 {
							c := nat.Client(w.server, withExtensions) // an honest neighbour
							c.AwaitAddr(time.Second)
							a.Send(c.Addr(), "hello")
							c.Next(10 * time.Second)
						}
						time.Sleep(time.Second)
						for _, r := range a.Received() {
							if r.Kind() == "echo reply" && r.Source() == b.Addr() {
								answers++
							}
						}
					}
					lost := map[bool]int{true: 0, false: 1}[live]
					if got := w.taken(i); got > 0+4*lost || answers < pings-lost {
						t.Errorf("the impostor got %d of %d pings, the peer answered %d", got, pings, answers)
					}
				})
			})
		}
	}
}

// Neighbours whose NAT hairpins stay on the LAN, and both prove through their server that they are there.
func TestProvenNeighbours(t *testing.T) {
	for _, hairpin := range []bool{false, true} {
		t.Run(fmt.Sprintf("hairpinning %v", hairpin), func(t *testing.T) {
			scenario(t, func(t *testing.T, w *world) {
				cfg := natsim.PortRestricted()
				cfg.Hairpin = hairpin
				nat := w.NAT(cfg)
				a, b := nat.Client(w.server, withExtensions), nat.Client(w.server, withExtensions)
				a.AwaitAddr(time.Second)
				b.AwaitAddr(time.Second)
				time.Sleep(5 * time.Second)
				start := w.Now()
				a.Send(b.Addr(), "hello")
				w.expect(b.Stack, "hello", start+lan)
				time.Sleep(time.Second)
				// Both paths are proven: neither a bubble from the mapping nor one from elsewhere on the LAN moves them.
				i, j := w.impostor(nat.Network, a, b.Addr()), w.impostor(nat.Network, b, a.Addr())
				defer i.stop()
				defer j.stop()
				for _, c := range []*natsim.Client{a, b} {
					other := map[*natsim.Client]*natsim.Client{a: b, b: a}[c]
					w.Spoof(teredo.Mapped(other.Addr()), teredo.Mapped(c.Addr()), teredo.AppendBubble(nil, other.Addr(), c.Addr(), 255))
				}
				forth, back := a.Stream(b.Addr(), pace, 300), b.Stream(a.Addr(), pace, 300)
				forth.Wait(time.Second)
				checkKept(t, forth, back)
				checkLocal(t, w)
			})
		})
	}
}

// X-SNS-05, A-50: indirect bubbles that are made up, from the server's address, do not have two clients miss each other that look for
// each other by nonces. One comes behind each that is true.
func TestForgedIndirectBubbles(t *testing.T) {
	kinds := []natKind{natKinds()[2], natKinds()[5], natKinds()[6]} // whose pairs need more than one exchange
	for _, from := range kinds {
		for _, to := range kinds {
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				var quiet, noisy outcome
				natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) { quiet = pair(in, from, to, allExtensions(), 1).connect() })
				natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
					p := pair(in, from, to, allExtensions(), 1)
					if p.qualified() {
						defer p.forgeIndirect()()
						noisy = p.connect()
					}
				})
				if quiet.connected != noisy.connected {
					t.Errorf("connected is %v, without the attack %v", noisy.connected, quiet.connected)
				}
			})
		}
	}
}

// forgeIndirect sends an indirect bubble of each client to the other one, right behind each that it sends itself, until it is stopped.
func (p *pairing) forgeIndirect() (stop func()) {
	mark := [3]byte{0xf0, 0xf1, 0xf2} // of the nonces
	end, ended := make(chan struct{}), make(chan struct{})
	seen := len(p.Trace())
	go func() {
		defer close(ended)
		for n := byte(0); ; {
			select {
			case <-end:
				return
			case <-time.After(hop / 4):
			}
			records := p.Trace()
			for _, r := range records[seen:] {
				b := r.Packet.IPv6()
				indirect := r.Packet.Kind() == "bubble" && r.Packet.Src.Port() == teredo.Port && teredo.IsTeredo(teredo.Source(b))
				if r.Event != natsim.Received || !indirect || bytes.Contains(r.Packet.Payload, mark[:]) {
					continue
				}
				n++
				to := teredo.Destination(b)
				p.Spoof(r.Packet.Src, teredo.Mapped(to), bubbleOf(teredo.Source(b), to, [4]byte{mark[0], mark[1], mark[2], n}))
			}
			seen = len(records)
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// Whatever a client has ever got, sent to it once more a while later: addresses and paths stay as they are, no packet is lost, and a new
// peer is found meanwhile.
func TestReplays(t *testing.T) {
	for _, kind := range natKinds() {
		for _, after := range []time.Duration{time.Second, time.Minute} {
			t.Run(fmt.Sprintf("%s, after %v", kind.name, after), func(t *testing.T) {
				scenario(t, func(t *testing.T, w *world) {
					a, b := attacked(w, kind.cfg, allExtensions())
					host := w.Native()
					flows := []*natsim.Stream{
						a.Stream(b.Addr(), pace, 1200), b.Stream(a.Addr(), pace, 1200), a.Stream(host.Addr(), pace, 1200), host.Stream(a.Addr(), pace, 1200),
					}
					time.Sleep(after)
					addresses, kinds := []netip.Addr{a.Addr(), b.Addr()}, map[string]int{}
					for _, r := range w.Trace() {
						if r.Event == natsim.Received && !r.Packet.Native() && r.Hop == a.Host.Name() {
							w.Spoof(r.Packet.Src, teredo.Mapped(a.Addr()), r.Packet.Payload)
							kinds[r.Packet.Kind()]++
						}
					}
					c := w.NAT(natsim.Symmetric()).Client(w.server, withExtensions)
					c.AwaitAddr(time.Minute)
					time.Sleep(15 * time.Second)
					a.Send(c.Addr(), "hello")
					if got := c.Next(5 * time.Second); got.Data() != "hello" {
						t.Errorf("received %s %q", got.Kind(), got.Data())
					}
					time.Sleep(110 * time.Second)
					checkKept(t, flows...)
					if addresses[0] != a.Addr() || addresses[1] != b.Addr() {
						t.Errorf("addresses were %v", addresses)
					}
					t.Logf("replayed %v", kinds)
				})
			})
		}
	}
}
