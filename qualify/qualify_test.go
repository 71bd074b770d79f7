package qualify_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

func port3544(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, 3544) }

// ST-C-02
func TestNewRefusesServers(t *testing.T) {
	addr := netip.MustParseAddr
	tests := []struct {
		name string
		cfg  qualify.Config
		want string
	}{
		{"none", qualify.Config{}, "no server address is given"},
		{"IPv6", qualify.Config{Server: addr("2001:db8::1")}, "server 2001:db8::1 is not an IPv4 address"},
		{"IPv4-mapped", qualify.Config{Server: addr("::ffff:8.8.8.8")}, "server ::ffff:8.8.8.8 is not an IPv4 address"},
		{"private, SEC-V4-03", qualify.Config{Server: addr("192.168.1.1")},
			"server 192.168.1.1 is not a global IPv4 address"},
		{"private secondary", qualify.Config{Server: addr("8.8.8.8"), Server2: addr("10.0.0.1")},
			"secondary server 10.0.0.1 is not a global IPv4 address"},
		{"twice the same", qualify.Config{Server: addr("8.8.8.8"), Server2: addr("8.8.8.8")},
			"secondary server 8.8.8.8 is the same as the primary; give the server's other address, or none"},
		{"short interval", qualify.Config{Server: addr("8.8.8.8"), Interval: qualify.MinInterval - 1},
			"a refresh interval of 4.999999999s is not possible: choose one from 5s to 5m0s"},
		{"long interval", qualify.Config{Server: addr("8.8.8.8"), Interval: qualify.MaxInterval + 1},
			"a refresh interval of 5m0.000000001s is not possible: choose one from 5s to 5m0s"},
		{"negative interval", qualify.Config{Server: addr("8.8.8.8"), Interval: -1},
			"a refresh interval of -1ns is not possible: choose one from 5s to 5m0s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := qualify.New(tt.cfg)
			if err == nil || err.Error() != tt.want {
				t.Errorf("New = %v, %q, want error %q", m, err, tt.want)
			}
		})
	}
}

// Without Rand the machine takes crypto/rand (W-ADDR-02), and a global server needs no permission.
func TestNewDefaults(t *testing.T) {
	m, err := qualify.New(qualify.Config{Server: netip.MustParseAddr("8.8.8.8")})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, m: m, now: epoch}
	if s := w.start(); s.nonce == [8]byte{} {
		t.Error("nonce is zero")
	}
}

func TestInitial(t *testing.T) {
	t.Run("C-QUAL-01", func(t *testing.T) {
		w := newWorld(t)
		if _, ok := w.m.Deadline(); ok {
			t.Error("a deadline before Start")
		}
		w.m.Heard(w.now)
		if got := w.tickNow(); len(got) != 0 {
			t.Errorf("sent %v before Start", got)
		}
		s := w.expect(qualify.Initial)
		if s.NAT != qualify.Unknown || s.Mapped.IsValid() || s.LastError != "" || s.Attempt != "" {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("an unsolicited advertisement", func(t *testing.T) {
		w := newWorld(t)
		a := valid(solicitation{to: port3544(server1)}, mapped)
		if err := w.deliver(a); err != qualify.ErrUnsolicited {
			t.Errorf("error %v", err)
		}
		w.expect(qualify.Initial)
	})
}

// K-04, W-RS-01: each solicitation to port 3544 of the server, and twice more.
func TestPrimaryPhase(t *testing.T) {
	t.Run("C-QUAL-02 and C-QUAL-03", func(t *testing.T) {
		w := newWorld(t)
		first := w.start()
		if first.to != port3544(server1) {
			t.Errorf("first solicitation to %v", first.to)
		}
		s := w.expect(qualify.Starting)
		if want := "router advertisement from 192.0.2.1:3544 (attempt 1 of 3)"; s.Attempt != want {
			t.Errorf("Attempt = %q, want %q", s.Attempt, want)
		}
		for n := 2; n <= attempts; n++ {
			before := w.now
			again := w.single(w.tick())
			if again.to != first.to || again.nonce != first.nonce {
				t.Errorf("attempt %d: %+v, want a repetition of %+v", n, again, first)
			}
			if w.now.Sub(before) != timeout {
				t.Errorf("attempt %d after %v, want T = 4 s", n, w.now.Sub(before))
			}
		}
		if want := "router advertisement from 192.0.2.1:3544 (attempt 3 of 3)"; w.status().Attempt != want {
			t.Errorf("Attempt = %q, want %q", w.status().Attempt, want)
		}
	})
	t.Run("C-QUAL-05: no answer", func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.expire()
		if d := w.now.Sub(epoch); d != attempts*timeout {
			t.Errorf("offline after %v, want N x T = 12 s", d)
		}
		s := w.expect(qualify.Offline)
		want := "server 192.0.2.1:3544 does not answer (3 attempts); " +
			"check the server's address, and that this network lets UDP out to port 3544"
		if s.LastError != want {
			t.Errorf("LastError = %q, want %q", s.LastError, want)
		}
		if !strings.HasPrefix(s.Attempt, "next attempt in ") {
			t.Errorf("Attempt = %q", s.Attempt)
		}
	})
	t.Run("an early Tick does nothing", func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.now = w.now.Add(timeout - 1)
		if got := w.tickNow(); len(got) != 0 {
			t.Errorf("sent %v", got)
		}
	})
	t.Run("a late Tick does one step", func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.now = w.now.Add(time.Hour)
		w.single(w.tickNow())
		if d, _ := w.m.Deadline(); d != w.now.Add(timeout) {
			t.Errorf("deadline %v after the tick", d.Sub(w.now))
		}
	})
}

func TestSecondaryPhase(t *testing.T) {
	t.Run("C-QUAL-06", func(t *testing.T) {
		w := newWorld(t)
		first := w.start()
		second := w.single(w.answer(first, mapped))
		if second.to != port3544(server2) {
			t.Errorf("second phase asks %v", second.to)
		}
		if second.nonce == first.nonce {
			t.Error("C-SEC-01: the nonce of the first phase again")
		}
		s := w.expect(qualify.Starting)
		if s.Attempt != "router advertisement from 192.0.2.2:3544 (attempt 1 of 3)" || s.Mapped != mapped {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("C-QUAL-06: no answer from a configured secondary", func(t *testing.T) {
		w := newWorld(t)
		w.answer(w.start(), mapped)
		w.expire()
		s := w.expect(qualify.Offline)
		want := "server 192.0.2.1 answers, but secondary server 192.0.2.2:3544 does not answer (3 attempts); " +
			"correct the address of the secondary server or leave it out"
		if s.LastError != want || s.NAT != qualify.Unknown || s.Mapped != mapped {
			t.Errorf("status %+v, want error %q", s, want)
		}
	})
	t.Run("C-QUAL-07, C-QUAL-11 and C-QUAL-12", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		s := w.status()
		a, _ := teredo.ParseAddress(s.Address)
		if a.Server != server1 || a.Mapped != mapped || a.Flags&^uint16(0x3CFF) != 0 {
			t.Errorf("address %v = %+v", s.Address, a)
		}
		if s.NAT != qualify.Restricted || s.Mapped != mapped || s.LastError != "" || s.Attempt != "" {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("no NAT", func(t *testing.T) {
		w := newWorld(t, local(mapped))
		w.qualify(mapped)
		if s := w.status(); s.NAT != qualify.None {
			t.Errorf("NAT = %v", s.NAT)
		}
	})
	t.Run("a NAT that only changes the port", func(t *testing.T) {
		w := newWorld(t, local(moved))
		w.qualify(mapped)
		if s := w.status(); s.NAT != qualify.Restricted {
			t.Errorf("NAT = %v", s.NAT)
		}
	})
	for name, other := range map[string]netip.AddrPort{
		"port":    moved,
		"address": netip.MustParseAddrPort("203.0.113.6:40000"),
	} {
		t.Run("C-QUAL-08: other "+name, func(t *testing.T) {
			w := newWorld(t)
			w.answer(w.single(w.answer(w.start(), mapped)), other)
			s := w.expect(qualify.Offline)
			if s.NAT != qualify.Symmetric || s.Mapped != mapped {
				t.Errorf("status %+v", s)
			}
			for _, part := range []string{"symmetric NAT", mapped.String(), other.String(), "have the client use that port", "RFC 4380 §5.2.10"} {
				if !strings.Contains(s.LastError, part) {
					t.Errorf("LastError %q lacks %q", s.LastError, part)
				}
			}
		})
	}
}

// Without a configured secondary the address after the primary is tried, and may be silent.
func TestGuessedSecondary(t *testing.T) {
	t.Run("answers", func(t *testing.T) {
		w := newWorld(t, guessedSecondary)
		second := w.single(w.answer(w.start(), mapped))
		if second.to != port3544(server2) {
			t.Fatalf("guessed %v", second.to)
		}
		w.answer(second, mapped)
		if s := w.expect(qualify.Qualified); s.NAT != qualify.Restricted {
			t.Errorf("NAT = %v", s.NAT)
		}
	})
	t.Run("silent", func(t *testing.T) {
		w := newWorld(t, guessedSecondary)
		w.answer(w.start(), mapped)
		w.expire()
		if s := w.expect(qualify.Qualified); s.NAT != qualify.Unknown || s.Mapped != mapped {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("answers for another server", func(t *testing.T) {
		w := newWorld(t, guessedSecondary)
		stranger := valid(w.single(w.answer(w.start(), mapped)), moved)
		stranger.prefix = server2
		if err := w.deliver(stranger); err == nil {
			t.Error("accepted")
		}
		w.expire()
		if s := w.expect(qualify.Qualified); s.NAT != qualify.Unknown || s.LastError != "" {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("silent, and a mapping that is the local address", func(t *testing.T) {
		w := newWorld(t, guessedSecondary, local(mapped))
		w.answer(w.start(), mapped)
		w.expire()
		if s := w.expect(qualify.Qualified); s.NAT != qualify.None {
			t.Errorf("NAT = %v", s.NAT)
		}
	})
	t.Run("shows a symmetric NAT", func(t *testing.T) {
		w := newWorld(t, guessedSecondary)
		w.answer(w.single(w.answer(w.start(), mapped)), moved)
		if s := w.expect(qualify.Offline); s.NAT != qualify.Symmetric {
			t.Errorf("NAT = %v", s.NAT)
		}
	})
	t.Run("not a permitted address: not asked", func(t *testing.T) {
		w := newWorld(t, noSecondary)
		if got := w.answer(w.start(), mapped); len(got) != 0 {
			t.Errorf("sent %v", got)
		}
		if s := w.expect(qualify.Qualified); s.NAT != qualify.Unknown {
			t.Errorf("NAT = %v", s.NAT)
		}
	})
}

// Any one packet of the two exchanges may be lost, in either direction, and qualification still succeeds.
func TestLossOfEachPacket(t *testing.T) {
	for lost := range 4 { // solicitation and answer of the primary, then of the secondary
		w := newWorld(t)
		s := w.start()
		for packet := 0; w.status().State != qualify.Qualified; packet += 2 {
			if packet == lost || packet+1 == lost {
				s = w.single(w.tick())
			}
			if next := w.answer(s, mapped); len(next) > 0 {
				s = w.single(next)
			}
		}
		if s := w.status(); s.NAT != qualify.Restricted || len(w.sent) != 3 {
			t.Errorf("packet %d lost: %d solicitations, status %+v", lost, len(w.sent), s)
		}
	}
}

// The answer to any of the N transmissions of a phase counts.
func TestLastAttemptAnswered(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	for range attempts - 1 {
		s = w.single(w.tick())
	}
	w.now = w.now.Add(timeout - 1)
	s = w.single(w.answer(s, mapped))
	for range attempts - 1 {
		s = w.single(w.tick())
	}
	w.answer(s, mapped)
	w.expect(qualify.Qualified)
}

func TestRTT(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	w.now = w.now.Add(30 * time.Millisecond)
	w.answer(s, mapped)
	if got := w.status().RTT; got != 30*time.Millisecond {
		t.Errorf("RTT = %v", got)
	}
	s = w.single(w.tick())
	w.now = w.now.Add(time.Millisecond)
	w.answer(s, mapped)
	if got := w.status().RTT; got != 30*time.Millisecond {
		t.Errorf("RTT = %v from an exchange with a repetition, where it cannot be known", got)
	}
}
