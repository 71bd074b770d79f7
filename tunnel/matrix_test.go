package tunnel_test

import (
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// natKind is one of the kinds of NAT in figure 1 of RFC 6081.
type natKind struct {
	name string
	cfg  natsim.NATConfig
	upnp bool // its client can ask for a port mapping
}

// natKinds are those of the figure, in its order.
func natKinds() []natKind {
	return []natKind{
		{"cone", natsim.Cone(), false},
		{"address-restricted", natsim.Restricted(), false},
		{"port-restricted", natsim.PortRestricted(), false},
		{"UPnP port-restricted", natsim.PortRestricted(), true},
		{"UPnP port-symmetric", natsim.Symmetric(), true},
		{"port-preserving", natsim.PortPreserving(), false},
		{"sequential", natsim.Sequential(), false},
		{"port-symmetric", natsim.Symmetric(), false},
		{"address-symmetric", natsim.AddressSymmetric(), false},
	}
}

// figure1 is figure 1 of RFC 6081: which extensions connect the NAT of the row with that of the column.
func figure1() [][]string {
	const yes, no, sns, upnp, pp, ss = "Yes", "No", "SNS", "SNS+UPnP", "SNS+PP", "SNS+SS"
	return [][]string{
		{yes, yes, yes, yes, sns, sns, sns, sns, sns},
		{yes, yes, yes, yes, sns, sns, sns, sns, no},
		{yes, yes, yes, yes, no, pp, ss, no, no},
		{yes, yes, yes, yes, upnp, no, no, no, no},
		{sns, sns, no, upnp, upnp, no, no, no, no},
		{sns, sns, pp, no, no, pp, ss, no, no},
		{sns, sns, ss, no, no, no, no, no, no},
		{sns, sns, no, no, no, no, no, no, no},
		{sns, no, no, no, no, no, no, no, no},
	}
}

// extensionSet is a set of extensions by the name that the figure has for it.
type extensionSet struct {
	name string
	peer.Extensions
}

// extensionSets are those of the figure, the smaller ones first, and combinations of them that it does not have.
func extensionSets() []extensionSet {
	return []extensionSet{
		{"Yes", peer.Extensions{}},
		{"SNS", peer.Extensions{SymmetricNAT: true}},
		{"SNS+UPnP", peer.Extensions{SymmetricNAT: true, UPnP: true}},
		{"SNS+PP", peer.Extensions{SymmetricNAT: true, PortPreserving: true}},
		{"SNS+SS", peer.Extensions{SymmetricNAT: true, PortPreserving: true, Sequential: true}},
		{"SNS+UPnP+PP", peer.Extensions{SymmetricNAT: true, UPnP: true, PortPreserving: true}},
		{"SNS+UPnP+SS", peer.Extensions{SymmetricNAT: true, UPnP: true, PortPreserving: true, Sequential: true}},
	}
}

func allExtensions() peer.Extensions {
	return peer.Extensions{
		SymmetricNAT: true, UPnP: true, PortPreserving: true, Sequential: true, Hairpinning: true, LoadReduction: true,
	}
}

// behind starts a client behind a NAT of the kind.
func (k natKind) behind(n *natsim.Network, s *natsim.Server, with peer.Extensions) (*natsim.Client, *natsim.NAT) {
	nat := n.NAT(k.cfg)
	return clientOf(nat, s, k.upnp, with), nat
}

// clientOf starts a client behind a NAT, with the extensions and without local discovery.
func clientOf(nat *natsim.NAT, s *natsim.Server, upnp bool, with peer.Extensions) *natsim.Client {
	return nat.Client(s, func(cfg *tunnel.ClientConfig) {
		cfg.Extensions, cfg.Discovery = with, nil
		if upnp && with.UPnP {
			cfg.PortMap = nat.PortMap
		}
	})
}

// pairing is two clients whose NATs the matrix pairs.
type pairing struct {
	*natsim.Internet
	from, to       *natsim.Client
	fromNAT, toNAT *natsim.NAT
}

// pair starts both clients, each with its own server when there are two.
func pair(in *natsim.Internet, from, to natKind, with peer.Extensions, servers int) *pairing {
	p := &pairing{Internet: in}
	home := in.Server()
	p.from, p.fromNAT = from.behind(in.Network, home, with)
	if servers > 1 {
		home = in.Server()
	}
	p.to, p.toNAT = to.behind(in.Network, home, with)
	time.Sleep(10 * time.Second)
	return p
}

func (p *pairing) qualified() bool { return p.from.Addr().IsValid() && p.to.Addr().IsValid() }

// connectWithin is longer than any search: two echo tests (3 s), three solicitations (4 s) and four pairs of bubbles.
const connectWithin = 20 * time.Second

// outcome is what has come of a first packet and of the answer to it.
type outcome struct {
	connected        bool
	first, answer    time.Duration // from sending to arrival
	unreachable      time.Duration // until the sender was told so; 0: it was not
	fromPort, toPort bool          // data has left from a random port of the side
	direct           bool          // data has gone to nobody but the two NATs
}

// connect sends a packet, and an answer to it at once.
func (p *pairing) connect() (o outcome) {
	start := p.Now()
	p.from.Send(p.to.Addr(), "hello")
	got, ok := p.to.Await(connectWithin)
	if !ok || got.Data() != "hello" {
		for _, r := range p.from.Received() {
			if r.Kind() == "unreachable" {
				o.unreachable = r.At - start
			}
		}
		return o
	}
	o.first = got.At - start
	p.to.Send(p.from.Addr(), "answer")
	answer, ok := p.from.Await(connectWithin)
	o.connected = ok && answer.Data() == "answer"
	o.answer = answer.At - got.At
	p.look(&o)
	return o
}

// look finds in the trace how the data has gone.
func (p *pairing) look(o *outcome) {
	o.direct = true
	for _, r := range p.Sent(natsim.Kind("data")) {
		switch port := r.Packet.Src.Port(); r.Hop {
		case p.from.Host.Name():
			o.fromPort = o.fromPort || port != p.from.Conn.LocalAddr().Port()
		case p.to.Host.Name():
			o.toPort = o.toPort || port != p.to.Conn.LocalAddr().Port()
		}
		o.direct = o.direct && r.Packet.Dst.Port() != teredo.Port
	}
}
