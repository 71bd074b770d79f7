package tunnel

import (
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
)

// enter translates packets from the TUN device whose destinations are native addresses of clients.
func (t *tunnel) enter(packets []Packet) {
	if !t.table.Translates() {
		return
	}
	for i := range packets {
		t.table.Inward(packets[i].Head)
	}
}

// turned are packets that turn back from one client to another one. Each worker that delivers packets has its own.
type turned struct {
	messages []Message
	vias     []uint8
}

// leave translates packets of clients that are to be delivered to the TUN device, and returns these. Those for the native
// address of another client go there.
func (t *outlet) leave(packets [][]byte, back *turned) [][]byte {
	if !t.table.Translates() {
		return packets
	}
	now := t.table.Stamp(time.Now())
	rest := packets[:0]
	for _, packet := range packets {
		if !t.table.Outward(packet) {
			rest = append(rest, packet)
			continue
		}
		came := peer.Traffic{Packets: 1, Bytes: uint64(len(packet))}
		t.received.all.add(came)
		t.received.direct.add(came)
		to, via, verdict := t.table.Turned(packet, 1, len(packet), now)
		switch verdict {
		case peer.Ask:
			t.ask(wanted, turnedBack, netip.AddrPort{}, 0, packet, nil)
			continue
		case peer.Refresh:
			t.tell(refresh, packet, nil)
		}
		back.messages = append(back.messages, Message{Buf: packet, N: len(packet), Remote: to})
		back.vias = append(back.vias, via)
	}
	t.send(back.messages, back.vias)
	back.messages, back.vias = back.messages[:0], back.vias[:0]
	return rest
}
