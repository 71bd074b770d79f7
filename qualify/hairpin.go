package qualify

import (
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	hairpinTimeout = 2 * time.Second // how long a bubble may take to come back, as long as one to a peer (K-10)
	hairpinBubbles = 3               // transmissions of it
)

// HairpinTest finds out whether the NAT turns round what is sent from inside to one of its mappings (RFC 4787 §6). After
// qualification the client sends a bubble to its own mapping, and sees whether it comes back.
//
// There is a test only behind a NAT that is known to have one mapping for all destinations. Without a NAT there is nothing to
// find out. A symmetric one would make another mapping for the bubble, and its filter keep the bubble out, so that the
// silence told nothing.
//
// Like Machine it has no I/O and no clock, and is not safe for concurrent use. Only Follow sends anything, so nobody outside
// can have it send more.
type HairpinTest struct {
	rand   func([]byte)
	own    netip.Addr // the address whose mapping was tested last; zero: none was
	nonce  [8]byte
	sent   int
	wake   time.Time // when Follow has something to do; zero: the test is over, or there is none
	result Verdict
}

// NewHairpinTest returns a test that Follow begins. rand is that of Config.
func NewHairpinTest(rand func([]byte)) *HairpinTest { return &HairpinTest{rand: orCrypto(rand)} }

// Follow is to be called when the status of the Machine may have changed, and when Deadline has come. It tests each new
// address once, also when it is withdrawn for a while, and repeats the bubble.
func (h *HairpinTest) Follow(now time.Time, s Status, out *teredo.Outbox) {
	if s.Address != h.own {
		h.wake = time.Time{} // a test under way is given up
		if s.Address.IsValid() && (s.NAT == Restricted || s.NAT == Cone) {
			*h = HairpinTest{rand: h.rand, own: s.Address, wake: now}
			h.rand(h.nonce[:])
		}
	}
	switch {
	case h.wake.IsZero() || now.Before(h.wake):
	case h.sent < hairpinBubbles:
		h.sendBubble(now, out)
	default:
		h.result, h.wake = No, time.Time{}
	}
}

// sendBubble sends a bubble from and to the own address. Its nonce is in an authentication encapsulation, as that of a router
// solicitation is.
func (h *HairpinTest) sendBubble(now time.Time, out *teredo.Outbox) {
	h.sent++
	h.wake = now.Add(hairpinTimeout)
	b := teredo.AppendAuth(out.Next(), teredo.Auth{Nonce: h.nonce})
	out.Send(teredo.Mapped(h.own), teredo.AppendBubble(b, h.own, h.own, teredo.DefaultHopLimit))
}

// Inbound takes the parsed payload of a datagram to the service port, and reports whether it is the bubble that was sent. Its
// nonce alone tells, for NATs show various sources for it. It may come late, or more than once.
func (h *HairpinTest) Inbound(p *teredo.Packet) bool {
	if h.sent == 0 || !p.HasAuth || p.Auth.Nonce != h.nonce || !teredo.IsBubble(p.IPv6) {
		return false
	}
	h.result, h.wake = Yes, time.Time{}
	return true
}

// Deadline returns when Follow wants to be called next; false means not before the status changes.
func (h *HairpinTest) Deadline() (time.Time, bool) { return h.wake, !h.wake.IsZero() }

// Result is what the test has told of an address in use. It is NotKnown until the test is over.
func (h *HairpinTest) Result(own netip.Addr) Verdict {
	if own != h.own {
		return NotKnown
	}
	return h.result
}
