package peer

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// A ping is an Echo Request of the program itself. It goes the way of the local stack's packets, and is as long as a connectivity
// test, as the kernel's path leaves replies of that length to the program.

// PingID is the identifier of pings.
func (t *Table) PingID() uint16 { return t.testID + 1 }

// SetPinging says whether a ping waits for its answer. Meanwhile the workers give all that may be an answer to the control goroutine.
func (t *Table) SetPinging(on bool) { t.pinging.Store(on) }

// mayAnswerPing reports whether an IPv6 packet may be the answer to a ping: an Echo Reply with the identifier, or any ICMPv6 error.
func (t *Table) mayAnswerPing(packet []byte) bool {
	return teredo.NextHeader(packet) == nextHeaderICMPv6 && len(packet) >= teredo.HeaderLen+8 && t.pinging.Load() &&
		(packet[40] < teredo.ICMPv6EchoRequest || packet[40] == teredo.ICMPv6EchoReply && t.hasPingID(packet))
}

// isPing reports whether an IPv6 packet is a ping.
func (t *Table) isPing(packet []byte) bool {
	return len(packet) == testLen && teredo.IsICMPv6Type(packet, teredo.ICMPv6EchoRequest) && t.hasPingID(packet)
}

func (t *Table) hasPingID(packet []byte) bool {
	return binary.BigEndian.Uint16(packet[44:]) == t.PingID()
}

// Ping sends a ping by the path that is known, or by one that is looked for. Its data is a nonce. It says why it is not sent, if so.
func (c *Client) Ping(t time.Time, to netip.Addr, sequence uint16, out *Output) (nonce [8]byte, why drop.Reason) {
	if !c.own.IsValid() {
		return nonce, drop.NotQualified
	}
	c.random(nonce[:])
	why = c.sendOwn(t, teredo.AppendEchoRequest(nil, c.own, to, c.table.PingID(), sequence, nonce[:]), out)
	if p := c.table.lookup(keyOf(to)); p != nil && p.search != nil {
		p.search.refusal = nil // of an earlier attempt of the search that it joins
	}
	return nonce, why
}

// sendOwn sends a packet of the program itself as one of the local stack.
func (c *Client) sendOwn(t time.Time, packet []byte, out *Output) drop.Reason {
	to, via, action := c.table.Outgoing(packet, 1, len(packet), c.table.Stamp(t))
	if action == Ask {
		return c.outbound(packet, c.table.Stamp(t), out)
	}
	out.UDP.SendVia(via, to, append(out.UDP.Next(), packet...))
	if action == Refresh {
		c.Refresh(t, packet, out)
	}
	return drop.None
}
