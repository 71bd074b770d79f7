package tunnel

import (
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
)

// enter translates packets from the TUN device whose destinations are native addresses of clients.
func (p *pump) enter(packets []tun.Packet) {
	if !p.table.Translates() {
		return
	}
	for i := range packets {
		p.table.Inward(packets[i].Head)
	}
}

// turned are packets that turn back from one client to another one. Each worker that delivers packets has its own.
type turned struct {
	messages []udp.Message
	vias     []uint8
}

// leave translates packets of clients that are to be delivered to the TUN device, and returns these. Those for the native
// address of another client go there.
func (p *pump) leave(packets [][]byte, t *turned) [][]byte {
	if !p.table.Translates() {
		return packets
	}
	now := p.table.Stamp(time.Now())
	rest := packets[:0]
	for _, packet := range packets {
		if !p.table.Outward(packet) {
			rest = append(rest, packet)
			continue
		}
		p.received.Add(1)
		p.receivedBytes.Add(uint64(len(packet)))
		to, via, verdict := p.table.Turned(packet, 1, len(packet), now)
		switch verdict {
		case peer.Ask:
			p.ask(wanted, turnedBack, netip.AddrPort{}, 0, packet, nil)
			continue
		case peer.Refresh:
			p.tell(refresh, packet)
		}
		t.messages = append(t.messages, udp.Message{Buf: packet, N: len(packet), Remote: to})
		t.vias = append(t.vias, via)
	}
	p.sendVia(t.messages, t.vias)
	t.messages, t.vias = t.messages[:0], t.vias[:0]
	return rest
}
