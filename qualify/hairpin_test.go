package qualify_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// hairpinRig is a HairpinTest, its clock, and what it sent last.
type hairpinRig struct {
	t   *testing.T
	h   *qualify.HairpinTest
	now time.Time
}

func newHairpinRig(t *testing.T) *hairpinRig {
	return &hairpinRig{t: t, h: qualify.NewHairpinTest(seeded(1)), now: epoch}
}

// behindNAT is the status of a client that has the mapping behind a kind of NAT.
func behindNAT(kind qualify.NAT, mapping netip.AddrPort) qualify.Status {
	address := teredo.Address{Server: server1, Flags: 0x1234, Mapped: mapping}.Addr()
	return qualify.Status{State: qualify.Qualified, NAT: kind, Address: address, Mapped: mapping}
}

// follow tells the status, and returns the bubble that was sent, nil for none.
func (r *hairpinRig) follow(s qualify.Status) *teredo.Packet {
	r.t.Helper()
	var out teredo.Outbox
	r.h.Follow(r.now, s, &out)
	if at, ok := r.h.Deadline(); ok && !at.After(r.now) {
		r.t.Fatalf("deadline %v is not later than %v", at, r.now)
	}
	switch sent := out.Datagrams(); len(sent) {
	case 0:
		return nil
	case 1:
		var p teredo.Packet
		if err := p.Parse(sent[0].Payload); err != nil || !teredo.IsBubble(p.IPv6) || !p.HasAuth || p.Auth.Nonce == [8]byte{} ||
			sent[0].Remote != s.Mapped || teredo.Source(p.IPv6) != s.Address || teredo.Destination(p.IPv6) != s.Address {
			r.t.Errorf("sent %x to %v: %v; want a bubble with a nonce to %v", sent[0].Payload, sent[0].Remote, err, s.Mapped)
		}
		return &p
	}
	r.t.Fatalf("%d datagrams in one step", len(out.Datagrams()))
	return nil
}

// wait lets time pass up to the deadline.
func (r *hairpinRig) wait() {
	r.t.Helper()
	at, ok := r.h.Deadline()
	if !ok {
		r.t.Fatal("no deadline")
	}
	r.now = at
}

// end checks that the test is over with a result, and that no more is sent.
func (r *hairpinRig) end(s qualify.Status, want qualify.Tristate) {
	r.t.Helper()
	if at, ok := r.h.Deadline(); ok {
		r.t.Errorf("it goes on at %v", at)
	}
	r.now = r.now.Add(time.Hour)
	if r.follow(s) != nil {
		r.t.Error("another bubble")
	}
	if got := r.h.Result(s.Address); got != want {
		r.t.Errorf("hairpinning: %v, want %v", got, want)
	}
}

// The bubble goes out at once, and three times in all, 2 s apart, with one nonce. When none comes back the answer is no; one
// that comes later still tells.
func TestHairpinNo(t *testing.T) {
	r, s := newHairpinRig(t), behindNAT(qualify.Restricted, mapped)
	first := r.follow(s)
	for range 2 {
		if r.follow(s) != nil {
			t.Error("a bubble too early")
		}
		r.wait()
		if again := r.follow(s); first == nil || again == nil || again.Auth.Nonce != first.Auth.Nonce {
			t.Fatalf("sent %+v and then %+v", first, again)
		}
	}
	r.wait()
	if r.follow(s) != nil || r.now != epoch.Add(6*time.Second) {
		t.Errorf("another bubble, at %v", r.now)
	}
	r.end(s, qualify.No)
	if !r.h.Inbound(first) {
		t.Error("a late bubble is not recognised")
	}
	r.end(s, qualify.Yes)
}

// The bubble that comes back ends the test, and copies of it are still recognised.
func TestHairpinYes(t *testing.T) {
	for _, kind := range []qualify.NAT{qualify.Restricted, qualify.Cone} {
		r, s := newHairpinRig(t), behindNAT(kind, mapped)
		r.follow(s)
		r.wait()
		bubble := r.follow(s)
		for range 2 {
			if bubble == nil || !r.h.Inbound(bubble) {
				t.Fatalf("%v is not recognised", bubble)
			}
			r.end(s, qualify.Yes)
		}
	}
}

// Nothing but the nonce proves that a bubble is the one that was sent, before a test, in one, or for the next address.
func TestHairpinForged(t *testing.T) {
	r, s := newHairpinRig(t), behindNAT(qualify.Restricted, mapped)
	own := teredo.AppendBubble(nil, s.Address, s.Address, 255)
	zero := &teredo.Packet{HasAuth: true, IPv6: own}
	if r.h.Inbound(zero) {
		t.Error("taken before the test")
	}
	sent := r.follow(s)
	if sent == nil {
		t.Fatal("no bubble")
	}
	other := *sent
	other.Auth.Nonce[7] ^= 1
	noAuth := *sent
	noAuth.HasAuth = false
	noBubble := *sent
	noBubble.IPv6 = teredo.AppendEchoRequest(nil, s.Address, s.Address, 1, 1, nil)
	for name, p := range map[string]*teredo.Packet{
		"nonce 0": zero, "another nonce": &other, "no authentication": &noAuth, "no bubble": &noBubble, "a bubble alone": {IPv6: own},
	} {
		if r.h.Inbound(p) || r.h.Result(s.Address) != qualify.NotKnown {
			t.Errorf("taken: %s", name)
		}
	}
	next := behindNAT(qualify.Restricted, moved)
	if again := r.follow(next); again == nil || again.Auth.Nonce == sent.Auth.Nonce || r.h.Inbound(sent) {
		t.Errorf("the nonce of the last test is taken: %+v", again)
	}
}

// There is no test where it would tell nothing: without an address, without a NAT, behind a symmetric one, or one that may be.
func TestHairpinNotTested(t *testing.T) {
	for _, s := range []qualify.Status{
		{}, {State: qualify.Starting, NAT: qualify.Restricted, Mapped: mapped},
		behindNAT(qualify.Unknown, mapped), behindNAT(qualify.None, mapped), behindNAT(qualify.Symmetric, mapped),
	} {
		r := newHairpinRig(t)
		if r.follow(s) != nil {
			t.Errorf("a bubble with %+v", s)
		}
		r.end(s, qualify.NotKnown)
	}
}

// An address is tested once, however often it is withdrawn and comes back, and its result is not that of another.
func TestHairpinOnceForAnAddress(t *testing.T) {
	r, s := newHairpinRig(t), behindNAT(qualify.Restricted, mapped)
	bubble := r.follow(s)
	if bubble == nil || !r.h.Inbound(bubble) {
		t.Fatal("no result")
	}
	offline := qualify.Status{State: qualify.Offline}
	r.end(offline, qualify.NotKnown)
	r.end(s, qualify.Yes)
	r.end(behindNAT(qualify.Unknown, moved), qualify.NotKnown)
	if r.follow(behindNAT(qualify.Restricted, moved)) == nil {
		t.Error("another mapping is not tested")
	}
	if r.follow(offline) != nil {
		t.Error("a bubble without an address")
	}
	r.end(offline, qualify.NotKnown) // the test under way is given up
}
