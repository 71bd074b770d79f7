package tunnel_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// ping has a client ping an address.
func ping(t *testing.T, c *natsim.Client, to netip.Addr) tunnel.PingResult {
	t.Helper()
	r, err := c.Tunnel.Ping(t.Context(), to)
	if err != nil || r.Address != to {
		t.Fatalf("%+v, %v", r, err)
	}
	return r
}

func wantAnswer(t *testing.T, r tunnel.PingResult, path string, rtt, found time.Duration) {
	t.Helper()
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	if !r.Answered || !r.Sent || r.Path != path || r.RTTMillis != ms(rtt) || r.FoundMillis != ms(found) || r.Reason != "" || r.CarriedBy != "program" || !r.Endpoint.IsValid() || r.Relay.IsValid() != (path == "relay") {
		t.Errorf("%+v, want path %s, RTT %v, found in %v", r, path, rtt, found)
	}
}

func wantReason(t *testing.T, r tunnel.PingResult, cause tunnel.Cause, words ...string) {
	t.Helper()
	if r.Answered || r.Cause != cause || r.RTTMillis != 0 {
		t.Errorf("%+v, want the cause %s", r, cause)
	}
	for _, w := range words {
		if !strings.Contains(r.Reason, w) {
			t.Errorf("reason %q, want it to say %q", r.Reason, w)
		}
	}
	if !strings.HasSuffix(r.Reason, ".") {
		t.Errorf("reason %q is no sentence", r.Reason)
	}
}

// Answers tell the path, the time that it took to be found, and the round trip. Nothing of that reaches the local stack.
func TestPingAnswers(t *testing.T) {
	eachPair(t, func(t *testing.T, w *world, a, b *natsim.Network) {
		from, to, host := w.qualified(a), w.qualified(b), w.Native()
		wantAnswer(t, ping(t, from, to.Addr()), "direct", 2*direct, clientToClient-direct)
		wantAnswer(t, ping(t, from, to.Addr()), "direct", 2*direct, 0)
		r := ping(t, from, host.Addr())
		wantAnswer(t, r, "relay", 2*viaRelay, clientToNative-viaRelay)
		if r.Relay.Addr() != w.relay.Host.Addr() {
			t.Errorf("relay %v", r.Relay)
		}
		wantAnswer(t, ping(t, from, host.Addr()), "relay", 2*viaRelay, 0)
		if got := from.Received(); len(got) > 0 {
			t.Errorf("the local stack has received %s", got[0].Kind())
		}
	})
}

// Clients of one subnet answer on it.
func TestPingLocal(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		lan := w.NAT(natsim.PortRestricted())
		a, b := w.qualified(lan.Network), w.qualified(lan.Network)
		time.Sleep(time.Second)
		r := ping(t, a, b.Addr())
		wantAnswer(t, r, "local", 2*time.Millisecond, time.Duration(r.FoundMillis*float64(time.Millisecond)))
	})
}

// rows are what the client behind a NAT of the kind can know of its row in figure 1.
func rows() map[string]string {
	const restricted, symmetric = "address-restricted or port-restricted", "port-symmetric or address-symmetric"
	return map[string]string{
		"address-restricted": restricted, "port-restricted": restricted, "UPnP port-symmetric": "UPnP port-symmetric",
		"port-preserving": "port-preserving", "sequential": "sequential", "port-symmetric": symmetric, "address-symmetric": symmetric,
	}
}

// Of each pair of NATs that figure 1 does not connect, the sentence names the row, and says of the other NAT what is known. With one
// server nothing tells whether the mappings of the other client differ, unless it has opened a random port.
func TestPingNATs(t *testing.T) {
	kinds := natKinds()
	for _, servers := range []int{1, 2} {
		for i, from := range kinds {
			for j, to := range kinds {
				t.Run(fmt.Sprintf("%s to %s, %d servers", from.name, to.name, servers), func(t *testing.T) {
					natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
						p := pair(in, from, to, allExtensions(), servers)
						r := ping(t, p.from, p.to.Addr())
						odd := "address-symmetric"
						connects := figure1()[i][j] != "No" || from.name == "UPnP port-restricted" || to.name == "UPnP port-restricted"
						if connects && (servers == 1 || from.name != odd) {
							if !r.Answered || r.Path != "direct" {
								t.Errorf("%+v", r)
							}
							return
						}
						row := "(row " + rows()[from.name] + " of figure 1 of RFC 6081)"
						cause, words := wantedReason(from, to, servers)
						wantReason(t, r, cause, row, words)
					})
				})
			}
		}
	}
}

// Where the kinds of the NATs are not known, or are not the cause, the sentence says so.
func TestPingOtherCauses(t *testing.T) {
	firewall := func(in *natsim.Internet) {
		for range 100 {
			in.Drop(1, func(p natsim.Packet) bool { return p.Src.Port() != teredo.Port && p.Dst.Port() != teredo.Port })
		}
	}
	for name, f := range map[string]func(t *testing.T, in *natsim.Internet){
		"a server with one address": func(t *testing.T, in *natsim.Internet) {
			s := in.Server(natsim.OneAddress)
			a, _ := natKind{cfg: natsim.Symmetric()}.behind(in.Network, s, allExtensions())
			b, _ := natKind{cfg: natsim.Symmetric()}.behind(in.Network, s, allExtensions())
			time.Sleep(20 * time.Second)
			wantReason(t, ping(t, a, b.Addr()), peer.BothNATs,
				"this NAT is symmetric or port-restricted", "the kind of this NAT is not known, as the server has no second address that answers")
		},
		"a firewall": func(t *testing.T, in *natsim.Internet) {
			p := pair(in, natKinds()[2], natKinds()[2], allExtensions(), 2)
			firewall(in)
			wantReason(t, ping(t, p.from, p.to.Addr()), peer.BothNATs, "neither NAT is symmetric, so perhaps a firewall drops UDP datagrams")
		},
		"no NAT": func(t *testing.T, in *natsim.Internet) {
			s := in.Server()
			a := in.Client(s, withExtensions)
			b := in.NAT(natsim.PortRestricted()).Client(s, withExtensions)
			time.Sleep(10 * time.Second)
			firewall(in)
			wantReason(t, ping(t, a, b.Addr()), peer.BothNATs, "this host is behind no NAT, so a firewall drops them")
		},
	} {
		t.Run(name, func(t *testing.T) { natsim.Test(t, 1, f) })
	}
}

// wantedReason is why a pair of NATs does not connect.
func wantedReason(from, to natKind, servers int) (tunnel.Cause, string) {
	symmetric := func(k natKind) bool { return k.cfg.Mapping != natsim.PortRestricted().Mapping }
	switch {
	case from.name == "UPnP port-symmetric":
		return peer.OneWay, "Bubbles come in"
	case to.name == "UPnP port-symmetric" && !symmetric(from): // it hears us directly, so it does not ask through our server
		return peer.Silent, "or the two NATs let nothing through"
	case servers == 2 && (from.name == "address-symmetric" || to.name == "address-symmetric"): // RFC 4380 §5.3.1
		return peer.Silent, "or the two NATs let nothing through"
	case symmetric(from) && symmetric(to):
		return peer.BothNATs, "both NATs are symmetric"
	case symmetric(to):
		return peer.BothNATs, "this NAT is port-restricted (row"
	case servers == 2:
		return peer.BothNATs, "and the other one is port-restricted."
	}
	return peer.BothNATs, "and the other one is symmetric or port-restricted."
}

// Why there is no answer, where the NATs have no part in it.
func TestPingReasons(t *testing.T) {
	address := func(server, mapped string) netip.Addr {
		return teredo.Address{Server: netip.MustParseAddr(server), Mapped: netip.MustParseAddrPort(mapped)}.Addr()
	}
	for name, f := range map[string]func(t *testing.T, w *world, c *natsim.Client){
		"own address": func(t *testing.T, w *world, c *natsim.Client) {
			wantReason(t, ping(t, c, c.Addr()), tunnel.OwnAddress, "own address")
		},
		"own mapping": func(t *testing.T, w *world, c *natsim.Client) {
			a, _ := teredo.ParseAddress(c.Addr())
			a.Flags ^= teredo.FlagRandomMask
			wantReason(t, ping(t, c, a.Addr()), peer.Policy, "those of this client itself")
		},
		"private": func(t *testing.T, w *world, c *natsim.Client) {
			wantReason(t, ping(t, c, address(w.server.Primary.String(), "10.0.0.1:4000")), peer.Policy, "the mapped address in it, 10.0.0.1,")
			wantReason(t, ping(t, c, address("10.0.0.1", "198.18.77.7:4000")), peer.Policy, "the server's address in it, 10.0.0.1,")
			wantReason(t, ping(t, c, address(w.server.Primary.String(), "198.18.77.7:0")), peer.Policy, "the mapped port in it is 0")
			r := ping(t, c, netip.MustParseAddr("ff02::1"))
			wantReason(t, r, peer.Policy, "not a global unicast IPv6 address")
			if r.Sent {
				t.Error("it says that it was sent")
			}
		},
		"native host that does not answer": func(t *testing.T, w *world, c *natsim.Client) {
			host := w.Native()
			host.Mute()
			r := ping(t, c, host.Addr())
			wantReason(t, r, peer.NoRelay, "No relay has brought an answer", w.server.Primary.String())
			if !r.Sent {
				t.Error("it says that it was not sent")
			}
		},
		"host that falls silent": func(t *testing.T, w *world, c *natsim.Client) {
			host := w.Native()
			wantAnswer(t, ping(t, c, host.Addr()), "relay", 2*viaRelay, clientToNative-viaRelay)
			host.Mute()
			wantReason(t, ping(t, c, host.Addr()), tunnel.Unanswered, "through the relay "+w.relay.Host.Addr().String(), "host is silent")
		},
		"client that answers no pings": func(t *testing.T, w *world, c *natsim.Client) {
			other := w.qualified(w.NAT(natsim.PortRestricted()).Network)
			other.Mute()
			wantReason(t, ping(t, c, other.Addr()), tunnel.Unanswered, "directly at", "host is silent")
		},
		"client that is gone": func(t *testing.T, w *world, c *natsim.Client) {
			other := w.qualified(w.NAT(natsim.PortRestricted()).Network)
			addr := other.Addr()
			other.Stop()
			wantReason(t, ping(t, c, addr), peer.Silent, "Nothing has come back", w.server.Primary.String())
			wantReason(t, ping(t, c, addr), peer.Silent, "Nothing has come back") // at once: there were four bubbles
		},
		"server that is gone": func(t *testing.T, w *world, c *natsim.Client) {
			host := w.Native()
			w.server.Stop()
			wantReason(t, ping(t, c, host.Addr()), peer.ServerSilent, "The server "+w.server.Primary.String()+" does not answer")
			time.Sleep(time.Minute)
			wantReason(t, ping(t, c, host.Addr()), tunnel.NotQualified, "state offline", "has stopped answering", "it waits for next attempt")
		},
		"server without native IPv6": func(t *testing.T, w *world, _ *natsim.Client) {
			c := w.NAT(natsim.PortRestricted()).Client(w.Server(natsim.NoNative))
			c.AwaitAddr(time.Minute)
			wantReason(t, ping(t, c, w.Native().Addr()), peer.NoRelay, "has no native IPv6")
		},
		"native IPv6": func(t *testing.T, w *world, c *natsim.Client) {
			if err := c.Tunnel.NetworkChanged(t.Context(), tunnel.Network{Native: "eth0"}); err != nil {
				t.Fatal(err)
			}
			wantReason(t, ping(t, c, w.Native().Addr()), tunnel.NativeIPv6, "native IPv6 through eth0")
		},
		"refused by a router": func(t *testing.T, w *world, c *natsim.Client) {
			host, router := w.Native(), w.Native()
			host.Refuse(router.Addr(), teredo.UnreachableProhibited)
			wantReason(t, ping(t, c, host.Addr()), peer.Refused, router.Addr().String(), `"administratively prohibited"`)
		},
		"refused by a host that has answered": func(t *testing.T, w *world, c *natsim.Client) {
			host := w.Native()
			ping(t, c, host.Addr())
			host.Refuse(host.Addr(), teredo.UnreachablePort)
			r := ping(t, c, host.Addr())
			wantReason(t, r, peer.Refused, host.Addr().String(), `"port unreachable"`)
			if r.Path != "relay" {
				t.Errorf("path %q", r.Path)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *testing.T, w *world) { f(t, w, w.qualified(w.NAT(natsim.PortRestricted()).Network)) })
		})
	}
}

// Pings are bounded: those at once, and those in a second. Nothing is left of one whose caller has gone, or whose client stops.
func TestPingBounds(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c, host := w.qualified(w.NAT(natsim.PortRestricted()).Network), w.Native()
		host.Mute()
		results := make(chan tunnel.PingResult)
		for range 9 {
			go func() { results <- ping(t, c, host.Addr()) }()
		}
		causes := make(map[tunnel.Cause]int)
		for range 9 {
			causes[(<-results).Cause]++
		}
		if want := map[tunnel.Cause]int{tunnel.Busy: 1, peer.NoRelay: 8}; !maps.Equal(causes, want) {
			t.Errorf("nine at once: %v, want %v", causes, want)
		}
		time.Sleep(10 * time.Second)
		for n := range 11 {
			if r := ping(t, c, c.Addr()); (r.Cause == tunnel.Busy) != (n == 10) {
				t.Errorf("number %d in a second: %+v", n, r)
			}
		}
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Tunnel.Ping(ctx, host.Addr()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		done := make(chan error)
		go func() { _, err := c.Tunnel.Ping(context.Background(), host.Addr()); done <- err }()
		time.Sleep(time.Second)
		c.Stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, err := c.Tunnel.Ping(t.Context(), host.Addr()); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// Nobody can answer a ping in another's place without its nonce.
func TestPingForged(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c, host := w.qualified(w.NAT(natsim.PortRestricted()).Network), w.Native()
		relay := ping(t, c, host.Addr()).Relay
		host.Mute()
		c.Ping(host.Addr(), "anything") // what the client's own stack asks for goes on to it
		for id := range uint16(100) {
			request := teredo.AppendEchoRequest(nil, c.Addr(), host.Addr(), id, 2, []byte("12345678"))
			go w.Spoof(relay, c.Status().Mapped, teredo.AppendUnreachable(nil, host.Addr(), teredo.UnreachablePort, request))
		}
		wantReason(t, ping(t, c, host.Addr()), tunnel.Unanswered, "host is silent")
		if got := len(c.Received()); got != 100 {
			t.Errorf("the local stack has received %d errors", got)
		}
	})
}

// In the list of peers, too, a path that was not found has its reason.
func TestPeersFailed(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c, host := w.qualified(w.NAT(natsim.PortRestricted()).Network), w.Native()
		host.Mute()
		c.Send(host.Addr(), "hello")
		time.Sleep(10 * time.Second)
		peers, err := c.Tunnel.Peers(t.Context())
		if err != nil || len(peers) != 1 || peers[0].State != "failed" || !strings.Contains(peers[0].Reason, "No relay has brought an answer") || peers[0].SinceSeconds != 10 {
			t.Errorf("%+v, %v", peers, err)
		}
	})
}
