package probe

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// repeatAfter is when the bubbles of the hairpinning test are sent again. The first ones open the NAT's filters for the second.
const repeatAfter = 250 * time.Millisecond

// hairpin tests whether the NAT hairpins: whether it delivers what one inside endpoint sends to the mapping of another (RFC 4787
// §6). Two ports send bubbles to each other's mappings.
type hairpin struct {
	rand  func([]byte)
	ends  [2]end
	began time.Time // zero: not yet
	again time.Time // when the bubbles are sent again; zero: no more
	seen  bool
}

// end is one of the two ports.
type end struct {
	port    int
	mapped  netip.AddrPort
	payload []byte // what it should receive
}

func (h *hairpin) begun() bool { return !h.began.IsZero() }

// tested reports whether there was a test.
func (h *hairpin) tested() bool { return h.ends[0].payload != nil }

// begin looks for two mapping ports whose mappings are known. Without a NAT there is no test.
func (h *hairpin) begin(now time.Time, targets []*target) {
	h.began = now
	for _, t := range targets {
		var ends []end
		for _, a := range t.asks {
			if mapped := a.mapped[t.primary]; mapped.IsValid() && mapped != a.local {
				ends = append(ends, end{port: a.port, mapped: mapped})
			}
		}
		if len(ends) >= 2 {
			h.ends = [2]end{ends[0], ends[1]}
			h.makeBubbles(t.Primary)
			h.again = now
			return
		}
	}
}

// makeBubbles makes a bubble for each port, as a client with the other's mapping would. The random bits of its addresses and a
// nonce distinguish it from all others.
func (h *hairpin) makeBubbles(server netip.Addr) {
	var random [8]byte
	h.fill(random[:])
	var addrs [2]netip.Addr
	for i, e := range h.ends {
		flags := (uint16(random[2*i])<<8 | uint16(random[2*i+1])) & teredo.FlagRandomMask
		addrs[i] = teredo.Address{Server: server, Flags: flags, Mapped: e.mapped}.Addr()
	}
	for i := range h.ends {
		bubble := teredo.AppendBubble(nil, addrs[1-i], addrs[i], teredo.DefaultHopLimit)
		h.ends[i].payload = teredo.AppendNonceTrailer(bubble, [4]byte(random[4:]))
	}
}

func (h *hairpin) fill(b []byte) {
	if h.rand != nil {
		h.rand(b)
		return
	}
	rand.Read(b) // never fails
}

// tick sends the bubbles, twice in all.
func (h *hairpin) tick(now time.Time) (out []datagram) {
	if h.again.IsZero() || now.Before(h.again) {
		return nil
	}
	for i, e := range h.ends {
		other := h.ends[1-i]
		out = append(out, datagram{e.port, other.mapped, other.payload})
	}
	if h.again.Equal(h.began) {
		h.again = now.Add(repeatAfter)
	} else {
		h.again = time.Time{}
	}
	return out
}

// arrived reports whether a datagram is one of the bubbles.
func (h *hairpin) arrived(port int, payload []byte) bool {
	for _, e := range h.ends {
		if e.payload != nil && e.port == port && bytes.Equal(e.payload, payload) {
			h.seen, h.again = true, time.Time{}
			return true
		}
	}
	return false
}

// wait returns until when a bubble may come.
func (h *hairpin) wait() wait {
	if !h.tested() || h.seen {
		return wait{}
	}
	return wait{"packets that the NAT may hairpin", h.began.Add(grace)}
}
