package qualify_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// forgeries are advertisements that are not the answer to the solicitation s. Those with an origin that is not global would
// give an address that may not be (W-ADDR-05).
var forgeries = []struct {
	name  string
	forge func(a *advert)
	want  error
}{
	{"C-QUAL-09: no origin indication", func(a *advert) { a.origin = netip.AddrPort{} }, qualify.ErrNoOrigin},
	{"C-QUAL-09: to another link-local address", func(a *advert) { a.dst = netip.MustParseAddr("fe80::1") }, qualify.ErrDestination},
	{"C-QUAL-09: with the other cone bit", func(a *advert) {
		a.dst = teredo.ClientLinkLocal(!teredo.ConeBit(a.dst), netip.AddrPort{})
	}, qualify.ErrDestination},
	{"C-QUAL-09: a wrong checksum", func(a *advert) {
		a.mangle = func(b []byte) []byte { b[42] ^= 1; return b }
	}, teredo.ErrICMPv6Checksum},
	{"C-QUAL-09: hop limit", func(a *advert) {
		a.mangle = func(b []byte) []byte { b[7] = 64; return b }
	}, teredo.ErrHopLimit},
	{"C-QUAL-09: not an advertisement", func(a *advert) {
		a.mangle = func(b []byte) []byte { return teredo.AppendRouterSolicitation(b[:0], a.dst) }
	}, teredo.ErrICMPv6Short},
	{"C-QUAL-10: another server's prefix", func(a *advert) { a.prefix = netip.MustParseAddr("192.0.2.9") }, qualify.ErrPrefix},
	{"C-QUAL-10: the secondary's prefix", func(a *advert) { a.prefix = server2 }, qualify.ErrPrefix},
	{"C-QUAL-13: private origin", func(a *advert) { a.origin = netip.MustParseAddrPort("10.0.0.1:4000") }, qualify.ErrOrigin},
	{"C-QUAL-13: multicast origin", func(a *advert) { a.origin = netip.MustParseAddrPort("224.0.0.253:3544") }, qualify.ErrOrigin},
	{"C-QUAL-13: zero origin", func(a *advert) { a.origin = netip.MustParseAddrPort("0.0.0.0:4000") }, qualify.ErrOrigin},
	{"C-QUAL-13: port 0", func(a *advert) { a.origin = netip.MustParseAddrPort("203.0.113.5:0") }, qualify.ErrOrigin},
	{"C-QUAL-14: another address", func(a *advert) {
		if a.from = netip.MustParseAddrPort("198.51.100.9:3544"); teredo.ConeBit(a.dst) {
			a.from = port3544(server1)
		}
	}, qualify.ErrSource},
	{"C-QUAL-14: another port", func(a *advert) { a.from = netip.AddrPortFrom(a.from.Addr(), 3545) }, qualify.ErrSource},
	{"C-SEC-02: no authentication", func(a *advert) { a.auth = nil }, qualify.ErrUnauthenticated},
	{"C-SEC-02: another nonce", func(a *advert) { a.auth.Nonce[7] ^= 1 }, qualify.ErrNonce},
	{"C-SEC-02: zero nonce", func(a *advert) { a.auth.Nonce = [8]byte{} }, qualify.ErrNonce},
	{"C-SEC-05: a client identifier", func(a *advert) { a.auth.ClientID = []byte("x") }, qualify.ErrClientID},
}

func TestForgeries(t *testing.T) {
	for _, tt := range forgeries {
		t.Run("primary/"+tt.name, func(t *testing.T) {
			w := newWorld(t)
			checkRefused(t, w, w.start(), tt.forge, tt.want)
		})
		t.Run("secondary/"+tt.name, func(t *testing.T) {
			w := newWorld(t)
			checkRefused(t, w, w.single(w.answer(w.start(), mapped)), tt.forge, tt.want)
		})
		t.Run("maintenance/"+tt.name, func(t *testing.T) { // C-MNT-03
			w := newWorld(t)
			w.qualify(mapped)
			before := w.status().Address
			checkRefused(t, w, w.single(w.tick()), tt.forge, tt.want)
			if s := w.expect(qualify.Qualified); s.Address != before || s.NAT != qualify.Restricted {
				t.Errorf("status %+v, address was %v", s, before)
			}
		})
	}
}

// checkRefused delivers the forgery and then the true answer: the first must do nothing, the second must still count.
func checkRefused(t *testing.T, w *world, s solicitation, forge func(*advert), want error) {
	t.Helper()
	a := valid(s, mapped)
	forge(&a)
	before := w.status()
	deadline, _ := w.m.Deadline()
	if err := w.deliver(a); !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	after := w.status()
	if got := w.collect(); len(got) != 0 {
		t.Errorf("sent %v", got)
	}
	if d, _ := w.m.Deadline(); d != deadline {
		t.Errorf("deadline moved by %v", d.Sub(deadline))
	}
	if after.State != qualify.Qualified {
		wantText := "router advertisement from " + a.from.String() + " refused: " + want.Error()
		if !strings.HasPrefix(after.LastError, wantText) {
			t.Errorf("LastError = %q, want %q", after.LastError, wantText)
		}
	} else if after.LastError != "" {
		t.Errorf("LastError = %q while qualified", after.LastError)
	}
	if after.Refused.From != a.from || !errors.Is(after.Refused.Err, want) {
		t.Errorf("Refused = %v, want %v", after.Refused, want)
	}
	after.LastError, after.Refused = before.LastError, before.Refused
	if after != before {
		t.Errorf("status %+v, was %+v", after, before)
	}
	w.answer(s, mapped)
	if w.status() == before && before.State != qualify.Qualified {
		t.Error("the true answer does not count any more")
	}
}

// C-QUAL-17: a prefix outside 2001::/32 is the tunnel mode that was never specified.
func TestTunnelModePrefix(t *testing.T) {
	w := newWorld(t)
	a := valid(w.start(), mapped)
	a.mangle = func(b []byte) []byte {
		const prefix = 40 + 16 + 16 // offset in the packet
		b[prefix+1] = 0x02          // 2001:: -> 2002::, and the checksum to match
		b[43] -= 1
		return b
	}
	if err := w.deliver(a); !errors.Is(err, teredo.ErrPrefixRange) {
		t.Errorf("error %v, want %v", err, teredo.ErrPrefixRange)
	}
}

func TestLateAndReplayed(t *testing.T) {
	t.Run("C-QUAL-15: the primary's answer again in the second phase", func(t *testing.T) {
		w := newWorld(t)
		first := w.start()
		second := w.single(w.answer(first, mapped))
		late := valid(first, moved)
		if err := w.deliver(late); err != qualify.ErrSource {
			t.Errorf("error %v", err)
		}
		late.from = second.to
		if err := w.deliver(late); err != qualify.ErrNonce {
			t.Errorf("error %v", err)
		}
		w.answer(second, mapped)
		w.expect(qualify.Qualified)
	})
	t.Run("C-QUAL-15: an answer after the last timeout", func(t *testing.T) {
		w := newWorld(t)
		s := w.start()
		w.expire()
		if err := w.deliver(valid(s, mapped)); err != qualify.ErrUnsolicited {
			t.Errorf("error %v", err)
		}
		got := w.expect(qualify.Offline).LastError
		if !strings.Contains(got, "does not answer") || !strings.Contains(got, "no router solicitation waits") {
			t.Errorf("LastError = %q", got)
		}
	})
	t.Run("C-QUAL-15: an answer from before Start", func(t *testing.T) {
		w := newWorld(t)
		old := w.start()
		w.start()
		if err := w.deliver(valid(old, mapped)); err != qualify.ErrNonce {
			t.Errorf("error %v", err)
		}
	})
	t.Run("C-QUAL-15: an answer from before the back-off", func(t *testing.T) {
		w := newWorld(t)
		old := w.start()
		w.expire()
		w.single(w.tick())
		if err := w.deliver(valid(old, mapped)); err != qualify.ErrNonce {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a replay when qualified", func(t *testing.T) {
		w := newWorld(t)
		second := w.single(w.answer(w.start(), mapped))
		w.answer(second, mapped)
		before := w.status()
		if err := w.deliver(valid(second, moved)); err != qualify.ErrUnsolicited {
			t.Errorf("error %v", err)
		}
		after := w.status()
		if want := "router advertisement from 192.0.2.2:3544 refused: no router solicitation waits for an answer"; after.Refused.String() != want {
			t.Errorf("Refused = %v, want %q", after.Refused, want)
		}
		if after.Refused = before.Refused; after != before {
			t.Errorf("status %+v, was %+v", after, before)
		}
	})
	t.Run("a replay of an earlier maintenance answer", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		old := w.single(w.tick())
		w.answer(old, mapped)
		w.single(w.tick())
		if err := w.deliver(valid(old, moved)); err != qualify.ErrNonce {
			t.Errorf("error %v", err)
		}
		if s := w.expect(qualify.Qualified); s.Mapped != mapped {
			t.Errorf("mapped %v", s.Mapped)
		}
	})
}

func TestRefusalsInLastError(t *testing.T) {
	t.Run("a server that answers nonsense", func(t *testing.T) {
		w := newWorld(t)
		a := valid(w.start(), netip.MustParseAddrPort("10.1.2.3:4000"))
		if w.deliver(a) == nil {
			t.Fatal("accepted")
		}
		w.expire()
		want := "server 192.0.2.1:3544 does not answer with a valid router advertisement (3 attempts): " +
			"router advertisement from 192.0.2.1:3544 refused: its origin indication is not a global IPv4 address and a port: " +
			"10.1.2.3:4000; permit 10.1.2.3/32 if it is meant"
		if got := w.expect(qualify.Offline).LastError; got != want {
			t.Errorf("LastError = %q, want %q", got, want)
		}
	})
	t.Run("strangers do not hide the server's", func(t *testing.T) {
		w := newWorld(t)
		s := w.start()
		bad, stranger := valid(s, netip.AddrPort{}), valid(s, mapped)
		stranger.from = netip.MustParseAddrPort("198.51.100.9:3544")
		for _, a := range []advert{stranger, bad, stranger} {
			if w.deliver(a) == nil {
				t.Fatal("accepted")
			}
		}
		want := "router advertisement from 192.0.2.1:3544 refused: it has no origin indication"
		if got := w.status().LastError; got != want {
			t.Errorf("LastError = %q, want %q", got, want)
		}
	})
	t.Run("the primary's are not told of the secondary", func(t *testing.T) {
		w := newWorld(t)
		s := w.start()
		if w.deliver(valid(s, netip.AddrPort{})) == nil {
			t.Fatal("accepted")
		}
		w.answer(s, mapped)
		if got := w.status().LastError; got != "" {
			t.Errorf("LastError = %q after a valid answer", got)
		}
	})
}

// Packets from strangers cost no allocation.
func TestRefusalDoesNotAllocate(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := teredo.Packet{IPv6: make([]byte, 40)}
	if n := testing.AllocsPerRun(100, func() {
		if w.m.Inbound(w.now, port3544(server1), &p, &w.out) != qualify.ErrUnauthenticated {
			t.Error("accepted")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
