// Package neighbor answers neighbor solicitations for the native addresses of Teredo clients: a proxy by RFC 4861 §7.2.8.
//
// An operator's native prefix may be on-link: the gateway takes each address in it for a host of the link, and asks the link for
// the host's MAC address before it sends a packet there. Clients are not on the link, so the relay answers for them.
//
// Proxy has the rules: frames in, frames out, time as an argument. Run feeds it from a Socket.
package neighbor

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	// patience is how long an asker may wait for an answer: a host asks three times, one second apart, before it gives up
	// (MAX_MULTICAST_SOLICIT and RETRANS_TIMER of RFC 4861 §10).
	patience = 3 * time.Second
	// mostWaiting bounds the solicitations that wait. The relay's budgets bound them before, as only what starts a search waits.
	mostWaiting = 2048
)

const (
	ethernetLen  = 14
	etherTypeIP6 = 0x86dd
)

// Clients are those of a relay, by their native addresses.
type Clients interface {
	// Possible reports whether the relay's prefixes give a client this native address, if there is such a client.
	Possible(native netip.Addr) bool
	// Live reports whether the relay exchanges packets with the client now.
	Live(native netip.Addr) bool
	// Seek looks for the client, because of the host asker. It reports whether it does: the relay's budgets may forbid it.
	Seek(native, asker netip.Addr) bool
}

// Link is what the proxy needs to know about the link and its host.
type Link struct {
	MAC   [6]byte    // of the interface
	Local netip.Addr // link-local address of the interface, which answers come from; zero: there is none, so nothing is answered
	// Taken are addresses that the proxy never answers for: those of the host and of its gateways.
	Taken map[netip.Addr]bool
}

// Proxy answers neighbor solicitations. One goroutine owns it, but any may read the counters.
type Proxy struct {
	link    Link
	clients Clients
	drops   *drop.Counters
	waiting map[netip.Addr]asker // by the native address that is asked for
}

// asker is a host that waits for an answer.
type asker struct {
	addr  netip.Addr
	mac   [6]byte
	until time.Time
}

// New makes a proxy. It counts solicitations for the addresses of clients that it does not answer.
func New(link Link, clients Clients, drops *drop.Counters) *Proxy {
	return &Proxy{link: link, clients: clients, drops: drops, waiting: make(map[netip.Addr]asker)}
}

// SetLink tells that the link has changed.
func (p *Proxy) SetLink(l Link) { p.link = l }

// Solicit handles an Ethernet frame and returns the answer, nil if there is none now. An answer may also come later, from Tick.
func (p *Proxy) Solicit(frame []byte, now time.Time) (answer []byte) {
	from, s, why := p.read(frame)
	if why == drop.None {
		answer, why = p.answer(from, s, now)
	}
	if why != drop.None {
		p.drops.Count(why)
	}
	return answer
}

// read finds the solicitation in a frame, and the MAC address to answer.
func (p *Proxy) read(frame []byte) (from asker, s teredo.NeighborSolicitation, why drop.Reason) {
	if len(frame) < ethernetLen+teredo.HeaderLen || binary.BigEndian.Uint16(frame[12:]) != etherTypeIP6 {
		return from, s, drop.Malformed
	}
	from.mac = [6]byte(frame[6:])
	packet := frame[ethernetLen:]
	size := teredo.HeaderLen + int(binary.BigEndian.Uint16(packet[4:]))
	s, err := teredo.ParseNeighborSolicitation(packet[:min(size, len(packet))]) // without padding
	if err != nil {
		return from, s, drop.Malformed
	}
	if s.HasLinkLayer {
		from.mac = s.LinkLayer // RFC 4861 §7.2.4
	}
	from.addr = s.Source
	return from, s, drop.None
}

// answer returns the answer if the client lives, and otherwise has the relay look for it.
func (p *Proxy) answer(from asker, s teredo.NeighborSolicitation, now time.Time) ([]byte, drop.Reason) {
	switch {
	case p.link.Taken[s.Target]:
		return nil, drop.None // the host, or the gateway, answers for itself
	case !p.clients.Possible(s.Target):
		return nil, drop.Destination
	case s.Source.IsUnspecified():
		// A host of the link tests whether the address is free (RFC 4862 §5.4). It may have it: a client must not be able to keep
		// addresses from the hosts of the link.
		return nil, drop.Source
	case !p.link.Local.IsValid():
		return nil, drop.NoRoute
	case p.clients.Live(s.Target):
		delete(p.waiting, s.Target)
		return p.advertise(s.Target, from), drop.None
	}
	from.until = now.Add(patience)
	_, waits := p.waiting[s.Target]
	switch {
	case !waits && len(p.waiting) >= mostWaiting:
		return nil, drop.TableFull
	case !p.clients.Seek(s.Target, s.Source): // also when somebody asks again: a bubble may be lost
		return nil, drop.Budget
	}
	p.waiting[s.Target] = from // also another host, or one that asks again: the latest gets the answer
	return nil, drop.None
}

// advertise returns the frame of an answer.
func (p *Proxy) advertise(target netip.Addr, to asker) []byte {
	b := append([]byte(nil), to.mac[:]...)
	b = append(b, p.link.MAC[:]...)
	b = binary.BigEndian.AppendUint16(b, etherTypeIP6)
	return teredo.AppendProxyAdvertisement(b, p.link.Local, to.addr, target, p.link.MAC)
}

// Waiting reports how many solicitations wait for their client.
func (p *Proxy) Waiting() int { return len(p.waiting) }

// Tick answers those who wait for a client that has been found meanwhile, each with a frame, and gives up what waits too long. Call
// it now and then while there are any.
func (p *Proxy) Tick(now time.Time, send func(frame []byte)) {
	for target, a := range p.waiting {
		switch {
		case p.clients.Live(target):
			send(p.advertise(target, a))
		case now.After(a.until):
			p.drops.Count(drop.NoPath)
		default:
			continue
		}
		delete(p.waiting, target)
	}
}
