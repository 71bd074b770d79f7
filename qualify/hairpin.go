package qualify

import (
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	hairpinTimeout = 2 * time.Second // how long a bubble may take to come back, as long as one to a peer (RFC 4380 §5.2.6)
	hairpinBubbles = 3               // transmissions of it
)

// HairpinTest finds out whether the NAT hairpins: whether it delivers what is sent from inside to one of its mappings (RFC 4787
// §6). After qualification the client sends a bubble to its own mapping, and sees whether it comes back.
//
// The test is made only behind a NAT that is known to have one mapping for all destinations. Without a NAT there is nothing to
// test. A symmetric NAT would make another mapping for the bubble, and its filter would drop the bubble, so that its absence
// would tell nothing.
//
// Like Machine it does no I/O and reads no clock, and is not safe for concurrent use. Only Follow sends, so nobody else can
// cause traffic.
type HairpinTest struct {
	rand   func([]byte)
	own    netip.Addr // the Teredo address whose mapping was tested last; zero: none was
	nonce  [8]byte
	sent   int
	wake   time.Time // when Follow has something to do; zero: the test is over, or there is none
	result Tristate
}

// NewHairpinTest returns a test that Follow begins. rand is as in Config.
func NewHairpinTest(rand func([]byte)) *HairpinTest { return &HairpinTest{rand: orCrypto(rand)} }

// Follow must be called when the status of the Machine may have changed, and when Deadline has come. It tests each new address
// once, and does not repeat the test when the address was only withdrawn for a while.
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

// sendBubble sends a bubble from and to the client's own address. Its nonce is in an authentication encapsulation, as that of a router
// solicitation is.
func (h *HairpinTest) sendBubble(now time.Time, out *teredo.Outbox) {
	h.sent++
	h.wake = now.Add(hairpinTimeout)
	b := teredo.AppendAuth(out.Next(), teredo.Auth{Nonce: h.nonce})
	out.Send(teredo.Mapped(h.own), teredo.AppendBubble(b, h.own, h.own, teredo.DefaultHopLimit))
}

// Inbound takes the parsed payload of a datagram to the service port, and reports whether it is the bubble that was sent. Only
// the nonce is compared, as NATs show various sources for it. The bubble may come late, or more than once.
func (h *HairpinTest) Inbound(p *teredo.Packet) bool {
	if h.sent == 0 || !p.HasAuth || p.Auth.Nonce != h.nonce || !teredo.IsBubble(p.IPv6) {
		return false
	}
	h.result, h.wake = Yes, time.Time{}
	return true
}

// Deadline returns when Follow wants to be called next; false means not before the status changes.
func (h *HairpinTest) Deadline() (time.Time, bool) { return h.wake, !h.wake.IsZero() }

// Result returns what the test has found for an address in use, NotKnown until the test is over.
func (h *HairpinTest) Result(own netip.Addr) Tristate {
	if own != h.own {
		return NotKnown
	}
	return h.result
}
