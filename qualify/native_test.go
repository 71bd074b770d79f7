package qualify_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

const nativePrefix = "2001:db8:c::/64"

// withNativePrefix adds the option with a native prefix to a router advertisement, and corrects length and checksum.
func withNativePrefix(ra []byte, prefix netip.Addr) []byte {
	first := prefix.As16()
	option := append([]byte{253, 2, 'n', 'a', 't', 'i', 'v', 'e'}, first[:8]...)
	ra = append(ra, option...)
	binary.BigEndian.PutUint16(ra[4:], binary.BigEndian.Uint16(ra[4:])+16)
	sum := uint32(^binary.BigEndian.Uint16(ra[42:])) + 16 // of the payload length, and then of the option
	for i := 0; i < len(option); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(option[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ra[42:], ^uint16(sum))
	return ra
}

func asksNative(c *qualify.Config) { c.NativeAddress, c.SymmetricNAT = true, true }

// askedNative qualifies, and returns the question for the native prefix. Nothing asks before.
func askedNative(w *world) solicitation {
	w.t.Helper()
	question := w.single(w.answer(w.start(), mapped))
	for _, s := range w.sent {
		if s.native != (s == question) {
			w.t.Errorf("sent %+v", s)
		}
	}
	if !question.native || question.to != port3544(server1) {
		w.t.Fatalf("the question is %+v", question)
	}
	w.expect(qualify.Qualified)
	return question
}

// answerNative answers with a native prefix.
func (w *world) answerNative(s solicitation, prefix string) {
	w.t.Helper()
	a := valid(s, mapped)
	a.native = prefix
	w.m.Heard(w.now)
	if err := w.deliver(a); err != nil {
		w.t.Fatal(err)
	}
	w.second()
}

// second answers the solicitation to the secondary address that was sent, if there is one, and sees that no other was.
func (w *world) second() {
	w.t.Helper()
	got := w.collect()
	if len(got) == 1 && got[0].to == port3544(server2) && !got[0].native {
		got = w.answer(got[0], mapped)
	}
	if len(got) != 0 {
		w.t.Fatalf("sent %+v", got)
	}
}

func (w *world) wantNative(prefix string) {
	w.t.Helper()
	var want netip.Addr
	s := w.status()
	if prefix != "" {
		p, err := teredo.NewNativePrefix(server1, netip.MustParsePrefix(prefix))
		if err != nil {
			w.t.Fatal(err)
		}
		want, _ = teredo.NativePrefixes{p}.Native(s.Address)
	}
	if s.Native != want {
		w.t.Errorf("native address %v of %v, want %v", s.Native, s.Address, want)
	}
}

// The client learns its native address with and without a secret. Maintenance then notices that the prefix changes and ceases.
func TestNativePrefixTold(t *testing.T) {
	for name, option := range map[string]func(*qualify.Config){"nonce": func(*qualify.Config) {}, "secret": secure} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, asksNative, option)
			w.answerNative(askedNative(w), nativePrefix)
			w.wantNative(nativePrefix)
			for _, prefix := range []string{"2001:db8:d::/64", ""} {
				s := w.single(w.tick())
				if !s.native {
					t.Fatal("maintenance does not ask")
				}
				w.answerNative(s, prefix)
				w.wantNative(prefix)
			}
			if s := w.single(w.tick()); s.native {
				t.Error("maintenance asks a server that has no prefix")
			}
		})
	}
}

// The prefix stays during an outage, in which solicitations do not ask for it.
func TestNativePrefixOutage(t *testing.T) {
	reached := epoch
	w := newWorld(t, asksNative, func(c *qualify.Config) { c.Reached = func() time.Time { return reached } })
	w.answerNative(askedNative(w), nativePrefix)
	w.tick()
	reached = w.now.Add(time.Hour)
	s := w.lose()
	if s.native {
		t.Error("a silent server is asked")
	}
	w.wantNative(nativePrefix)
	w.answer(s, mapped)
	w.wantNative(nativePrefix)
}

// A server without a prefix is asked once. One that drops the question gets it three times, and does not count as silent.
func TestNoNativePrefix(t *testing.T) {
	for name, end := range map[string]func(*world, solicitation){
		"answers": func(w *world, s solicitation) { w.answer(w.single(w.answer(s, mapped)), mapped) },
		"drops": func(w *world, _ solicitation) {
			again := w.single(w.answer(w.single(w.tick()), mapped)) // once the secondary address has answered
			if !again.native || !w.single(w.tick()).native || len(w.tick()) != 0 {
				w.t.Error("not asked three times")
			}
		},
		"answers uselessly": func(w *world, s solicitation) { w.answerNative(s, "fd00:1::/64") },
		"claims Teredo":     func(w *world, s solicitation) { w.answerNative(s, "2001::/64") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, asksNative)
			asked, question := w.now, askedNative(w)
			if w.status().NativeAsked {
				t.Error("asked before there was an answer")
			}
			end(w, question)
			if !w.status().NativeAsked {
				t.Error("not asked")
			}
			w.wantNative("")
			if s := w.expect(qualify.Qualified); !s.SilentSince.IsZero() || s.LastError != "" || w.now.Sub(asked) > attempts*timeout {
				t.Errorf("after %v: %+v", w.now.Sub(asked), s)
			}
			if s := w.single(w.tick()); s.native {
				t.Error("asked again")
			}
		})
	}
}

// A prefix that nobody has asked for is ignored, and one without the nonce is refused.
func TestNativePrefixForged(t *testing.T) {
	w := newWorld(t)
	second := w.single(w.answer(w.start(), mapped))
	w.answer(second, mapped)
	w.answerNative(w.single(w.tick()), nativePrefix)
	w.wantNative("")

	w = newWorld(t, asksNative)
	forged := valid(askedNative(w), mapped)
	forged.native = nativePrefix
	forged.auth.Nonce[0]++
	if err := w.deliver(forged); err != qualify.ErrNonce {
		t.Error(err)
	}
	w.wantNative("")
}
