// Package server is the Teredo server of RFC 4380 §5.3: it answers router solicitations, and forwards the bubbles and ICMPv6
// echo messages with which clients and relays find each other. It keeps no state per client.
//
// Handler has the rules and does no I/O; Server is the loop around it. Section numbers without an RFC are those of RFC 4380. IDs
// such as A-38 are explained in docs/conformance.md.
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

// Kind is the kind of a datagram, as far as it is recognised.
type Kind uint8

const (
	Other        Kind = iota
	Solicitation      // router solicitation
	Bubble            // bubble
	Echo              // ICMPv6 Echo Request or Echo Reply
	EchoToServer      // ICMPv6 Echo Request that the server itself answered
	kinds
)

// Verdict is the decision of Handle about one datagram.
type Verdict struct {
	Action Action
	Kind   Kind
	Reason drop.Reason // drop.None unless Action is Drop
	Local  int         // Primary or Secondary: the address a UDP datagram leaves from, port 3544
	// To is where the payload goes. With Native it is the IPv6 destination, and the port is 0.
	To      netip.AddrPort
	Payload []byte // built in the buffer that Handle was given
}

// Handler applies the server's rules to one datagram at a time. It keeps no state of clients (§5.3) and is safe for concurrent
// use.
type Handler struct {
	filter     atomic.Pointer[teredo.Filter]
	natives    teredo.NativePrefixes
	public     netip.Addr    // in the prefix of every client of this server
	linkLocal  netip.Addr    // the server's own, made of public (§5.3.2)
	own        [4]netip.Addr // bound and public addresses; those not configured are zero
	allRouters netip.Addr
	// advertisement announces public, also at the secondary address: a client has one address.
	advertisement teredo.AdvertisementTemplate
	// nativeAdvertisement has the native prefix, too. It answers clients that ask for it, if there is one.
	nativeAdvertisement teredo.AdvertisementTemplate

	second  bool // there is a secondary address
	strict  bool // see Config.StrictSource
	secrets atomic.Pointer[Secrets]
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
		natives:    natives,
		public:     cfg.public(),
		linkLocal:  teredo.ServerLinkLocal(cfg.public()),
		own:        [4]netip.Addr{cfg.Primary, cfg.Secondary, cfg.public(), cfg.public2()},
		allRouters: teredo.AllRouters(),
		second:     cfg.Secondary.IsValid(),
		strict:     cfg.StrictSource,

		advertisement: teredo.NewAdvertisementTemplate(cfg.public()),
	}
	for _, p := range natives {
		h.nativeAdvertisement = teredo.NewNativeAdvertisementTemplate(p)
	}
	h.secrets.Store(cfg.Secrets)
	h.filter.Store(&cfg.Filter)
	return h, nil
}

// SetSecrets replaces the secrets, see Config.Secrets. It may be called at any time.
func (h *Handler) SetSecrets(s *Secrets) { h.secrets.Store(s) }

// SetFilter replaces Config.Filter. It may be called at any time.
func (h *Handler) SetFilter(f teredo.Filter) { h.filter.Store(&f) }

// Handle decides about one UDP payload. local says at which address it arrived (Primary or Secondary), from is its
// outer source. The output is built in buf, which needs a capacity of MaxOutput; neither slice is kept. The checks are those of
// §5.3.1. The server is no amplifier (§7.4): the output is at most 8 bytes larger than the payload, and a router advertisement,
// which answers 48 bytes or more, at most 56.
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

// kindOf recognises the kinds of packets that §5.3 names. They are fewer than the "any ICMPv6" of §5.3.1.
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

// checkOuter is §5.3.1 rules 2 and 3, and keeps anything else from being forwarded.
func (h *Handler) checkOuter(kind Kind, from netip.AddrPort, p *teredo.Packet) drop.Reason {
	switch {
	case len(p.Trailers) > teredo.MaxTrailers:
		return drop.Trailers
	case kind == Other:
		return drop.NotAllowed
	case len(p.IPv6) > teredo.MTU: // larger than any Teredo link carries (§5.1.2)
		return drop.NotAllowed
	case from.Port() == 0 || !h.filter.Load().Global(from.Addr()): // rule 3
		return drop.NotGlobal
	case from.Port() == teredo.Port && h.owns(from.Addr()):
		// A relay on this host may have the same address with another port. From the server's port it is forged.
		return drop.Loop
	}
	return drop.None
}

// checkInner is §5.3.1 rules 5 to 7. Rule 4, solicitations, is in advertise.
func (h *Handler) checkInner(kind Kind, from netip.AddrPort, src, dst netip.Addr, trailers []byte) drop.Reason {
	if teredo.IsTeredo(src) { // rule 5: a client sends only with its own address
		if teredo.Mapped(src) != from && !h.fromSymmetricNAT(kind, from, src, dst, trailers) {
			return drop.Source
		}
		return drop.None
	}
	switch {
	case src == h.linkLocal:
		return drop.Source
	case kind == Bubble && isLinkLocal(src): // relays may send bubbles from such an address
	case !h.filter.Load().Native(src):
		return drop.Source
	}
	if teredo.ServerOf(dst) != h.public { // rule 6: only toward clients of this server
		return drop.Destination
	}
	return drop.None
}

// checkTo tells whether a UDP datagram may be sent to an endpoint: never to an address that is not global (§5.3.1, §5.3.2), and
// never to the server's own addresses, as that would be a loop.
func (h *Handler) checkTo(to netip.AddrPort) drop.Reason {
	switch {
	case to.Port() == 0 || !h.filter.Load().Global(to.Addr()):
		return drop.NotGlobal
	case h.owns(to.Addr()):
		return drop.Loop
	}
	return drop.None
}

func (h *Handler) owns(a netip.Addr) bool {
	return a == h.own[0] || a == h.own[1] || a == h.own[2] || a == h.own[3]
}

// fromSymmetricNAT recognises a bubble from a client of another server, behind a symmetric NAT, to a client of this server: an
// indirect bubble with a nonce, from another port of the IPv4 address in its source. Rule 5 would drop it. The rule exists
// so that nobody makes a client send to a third party. It still holds: to do that, an attacker has to forge the outer source, with
// which rule 5 could be met, too. The client accepts the path only when the nonce comes back (RFC 6081 §5.2.4.4).
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
