package relay

import (
	"net/netip"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/succession"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/tunnel"
)

// legacy is the name of what a relay tells the one that replaces it.
const legacy = "relay"

// known is what a relay tells the one that replaces it, besides its clients.
type known struct {
	LinkLocal    netip.Addr    `json:"link_local"`    // of the interface
	RecordFormat int           `json:"record_format"` // of the records of clients
	Flows        []tunnel.Flow `json:"flows"`         // that the kernel carries
}

// Give gives a new process what it needs to go on where the relay is, see cli.Service.
func (r *Relay) Give(g *succession.Giver) (leave func() error, err error) {
	t := r.running.Load()
	g.UDP(t.conns...)
	g.TUN(r.TUN, t.devices...)
	l := t.Legacy()
	g.Data(legacy, known{LinkLocal: t.linkLocal, RecordFormat: peer.RecordFormat, Flows: l.Flows})
	for records := range l.Records {
		if err := g.Records(records); err != nil {
			return nil, err
		}
	}
	return t.StopReading, nil
}

// inherit takes what the relay before has told, and its clients only if their records have the format that this one knows.
func (r *Relay) inherit(linkLocal netip.Addr) (netip.Addr, tunnel.Legacy) {
	var k known
	if !r.Inherited.Data(legacy, &k) {
		return linkLocal, tunnel.Legacy{}
	}
	if k.LinkLocal.Is6() && k.LinkLocal.IsLinkLocalUnicast() {
		linkLocal = k.LinkLocal
	}
	l := tunnel.Legacy{Flows: k.Flows}
	if k.RecordFormat == peer.RecordFormat {
		l.Records = r.Inherited.Records()
	}
	return linkLocal, l
}

// listen opens the sockets of the UDP port, or takes over those of the relay before, however many these are.
func (r *Relay) listen(local netip.AddrPort, o udp.Options) ([]*udp.Conn, error) {
	if conns, err := r.Inherited.UDP(local, o); len(conns) > 0 || err != nil {
		return conns, err
	}
	return udp.ListenGroup(local, r.workers(), o)
}

// openDevice makes the interface, or takes over the queues of the relay before, however many these are.
func (r *Relay) openDevice() ([]tun.Device, error) {
	if queues, err := r.Inherited.TUN(r.TUN, r.TUNOffload); len(queues) > 0 || err != nil {
		return queues, err
	}
	queues, _, err := r.OpenDevice(r.TUN, r.workers())
	return queues, err
}
