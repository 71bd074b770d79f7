// Package server is the Teredo server of RFC 4380 §5.3: it answers router solicitations, and passes on the bubbles and
// ICMPv6 echoes that clients and relays need to find each other. It keeps no state per client.
//
// Handler holds the rules and does no I/O; Server is the loop around it.
package server

import (
	"net/netip"
	"sync/atomic"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// MaxOutput is the largest payload in bytes that Handle builds: origin indication, packet, trailers.
const MaxOutput = 8 + teredo.MTU + teredo.MaxTrailers

// The two addresses of a server, as Handle numbers them.
const (
	Primary   = 0
	Secondary = 1
)

// Action says what becomes of a datagram.
type Action uint8

const (
	Drop   Action = iota // nothing leaves; Verdict.Reason says why
	Send                 // Verdict.Payload leaves as a UDP datagram
	Native               // Verdict.Payload leaves as an IPv6 packet
)

// Kind says what a datagram was, as far as it was recognised.
type Kind uint8

const (
	Other        Kind = iota
	Solicitation      // router solicitation
	Bubble            // bubble
	Echo              // ICMPv6 Echo Request or Echo Reply
	EchoToServer      // ICMPv6 Echo Request that the server itself answered
	kinds
)

// Verdict is what Handle decided about one datagram.
type Verdict struct {
	Action Action
	Kind   Kind
	Reason drop.Reason // drop.None unless Action is Drop
	Via    int         // Primary or Secondary: the address a UDP datagram leaves from, port 3544
	// To is where the payload goes. With Native it is the IPv6 destination, and the port is 0.
	To      netip.AddrPort
	Payload []byte // built in the buffer that Handle was given
}

// Handler applies the server's rules to one datagram at a time. It keeps no state of clients (S-GEN-01) and is safe for
// concurrent use.
type Handler struct {
	filter     teredo.Filter
	natives    teredo.NativePrefixes
	public     netip.Addr    // in the prefix of every client of this server
	linkLocal  netip.Addr    // the server's own, made of public (W-LL-02)
	own        [4]netip.Addr // bound and public addresses; those not configured are zero
	allRouters netip.Addr
	// advertisement announces public, also at the secondary address (S-RS-08).
	advertisement teredo.AdvertisementTemplate
	second        bool // there is a secondary address
	strict        bool // see Config.StrictSource
	secrets       atomic.Pointer[Secrets]
}

// NewHandler makes a Handler. The error is that of Config.Check.
func NewHandler(cfg Config) (*Handler, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	natives, err := cfg.natives()
	if err != nil {
		return nil, err
	}
	h := &Handler{
		filter:     cfg.Filter,
		natives:    natives,
		public:     cfg.public(),
		linkLocal:  teredo.ServerLinkLocal(cfg.public()),
		own:        [4]netip.Addr{cfg.Primary, cfg.Secondary, cfg.public(), cfg.public2()},
		allRouters: teredo.AllRouters(),
		second:     cfg.Secondary.IsValid(),
		strict:     cfg.StrictSource,

		advertisement: teredo.NewAdvertisementTemplate(cfg.public()),
	}
	h.secrets.Store(cfg.Secrets)
	return h, nil
}

// SetSecrets replaces the secrets, see Config.Secrets. It may be called at any time.
func (h *Handler) SetSecrets(s *Secrets) { h.secrets.Store(s) }

// Handle decides about one UDP payload. local says at which address it arrived (Primary or Secondary), from is its
// outer source. Whatever leaves is built in buf, which needs a capacity of MaxOutput; neither slice is kept. The checks
// follow RFC 4380 §5.3.1 and the verdict is never larger than the payload plus an origin indication, but for the
// router advertisement, which is at most 56 bytes larger, in answer to 48 or more (SEC-NOAMP-01).
func (h *Handler) Handle(local int, from netip.AddrPort, payload, buf []byte) Verdict {
	var p teredo.Packet
	if p.Parse(payload) != nil {
		return dropped(Other, drop.Malformed)
	}
	kind := kindOf(p.IPv6)
	if reason := h.checkOuter(kind, from, &p); reason != drop.None {
		return dropped(kind, reason)
	}
	if kind == Solicitation {
		return h.advertise(local, from, &p, buf[:0])
	}
	src, dst := teredo.Source(p.IPv6), teredo.Destination(p.IPv6)
	if reason := h.checkInner(kind, from, src, dst, p.Trailers); reason != drop.None {
		return dropped(kind, reason)
	}
	switch {
	case dst == h.linkLocal || dst == h.allRouters:
		return h.answerEcho(kind, local, from, &p, buf[:0])
	case teredo.IsTeredo(dst):
		return h.forward(kind, from, dst, &p, buf[:0])
	default:
		return h.routeNatively(kind, dst, &p, buf[:0])
	}
}

func dropped(kind Kind, reason drop.Reason) Verdict {
	return Verdict{Kind: kind, Reason: reason}
}

// kindOf sorts packets into the narrow set that RFC 4380 §5.3 names, narrower than the "any ICMPv6" of §5.3.1.
func kindOf(ipv6 []byte) Kind {
	switch {
	case teredo.IsBubble(ipv6):
		return Bubble
	case teredo.IsICMPv6Type(ipv6, teredo.ICMPv6EchoRequest), teredo.IsICMPv6Type(ipv6, teredo.ICMPv6EchoReply):
		return Echo
	case teredo.IsICMPv6Type(ipv6, teredo.ICMPv6RouterSolicitation):
		return Solicitation
	}
	return Other
}

// checkOuter is RFC 4380 §5.3.1 rules 2 and 3, and what keeps the server from being a carrier of anything else.
func (h *Handler) checkOuter(kind Kind, from netip.AddrPort, p *teredo.Packet) drop.Reason {
	switch {
	case len(p.Trailers) > teredo.MaxTrailers:
		return drop.Trailers
	case kind == Other:
		return drop.NotAllowed
	case len(p.IPv6) > teredo.MTU: // larger than any Teredo link carries (§5.1.2)
		return drop.NotAllowed
	case from.Port() == 0 || !h.filter.Global(from.Addr()): // S-RX-03
		return drop.NotGlobal
	case from.Port() == teredo.Port && h.owns(from.Addr()):
		// A relay on this host may share the address, on another port; from our own port it is forged.
		return drop.Loop
	}
	return drop.None
}

// checkInner is RFC 4380 §5.3.1 rules 5 to 7. Rule 4, solicitations, is in advertise.
func (h *Handler) checkInner(kind Kind, from netip.AddrPort, src, dst netip.Addr, trailers []byte) drop.Reason {
	if teredo.IsTeredo(src) { // S-RX-05: a client speaks for itself only
		if teredo.Mapped(src) != from && !h.fromSymmetricNAT(kind, from, src, dst, trailers) {
			return drop.Source
		}
		return drop.None
	}
	switch {
	case src == h.linkLocal:
		return drop.Source
	case kind == Bubble && isLinkLocal(src): // relays may send bubbles from such an address
	case !h.filter.Native(src):
		return drop.Source
	}
	if teredo.ServerOf(dst) != h.public { // S-RX-06: only toward clients of this server
		return drop.Destination
	}
	return drop.None
}

// checkTo tells whether a UDP datagram may be sent to an endpoint: never to a non-global address (S-FWD-04, S-RS-05),
// never to one of our own (S-FWD-08).
func (h *Handler) checkTo(to netip.AddrPort) drop.Reason {
	switch {
	case to.Port() == 0 || !h.filter.Global(to.Addr()):
		return drop.NotGlobal
	case h.owns(to.Addr()):
		return drop.Loop
	}
	return drop.None
}

func (h *Handler) owns(a netip.Addr) bool {
	return a == h.own[0] || a == h.own[1] || a == h.own[2] || a == h.own[3]
}

// fromSymmetricNAT tells whether a packet is what a client of another server, behind a symmetric NAT, sends to reach a client
// of ours: an indirect bubble with a nonce, from another port of the address in its source. That the IPv4 address is
// the same keeps what the rule is for: nobody makes our client send to a third party without forging the outer source,
// with which rule 5 could be met, too. The path itself is believed only when the nonce comes back (RFC 6081 §5.2.4.4).
func (h *Handler) fromSymmetricNAT(kind Kind, from netip.AddrPort, src, dst netip.Addr, trailers []byte) bool {
	if h.strict || kind != Bubble || teredo.Mapped(src).Addr() != from.Addr() || teredo.ServerOf(dst) != h.public {
		return false
	}
	for {
		t, rest, ok := teredo.NextTrailer(trailers)
		if !ok {
			return false
		}
		if _, nonce := t.Nonce(); nonce {
			return true
		}
		trailers = rest
	}
}
