package peer

import (
	"encoding/binary"
	"slices"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// testLen is the size of a connectivity test and of its answer: IPv6 header, ICMPv6 header, nonce.
const testLen = teredo.HeaderLen + 8 + len(search{}.nonce)

// test sends an ICMPv6 Echo Request with the nonce of this test (RFC 4380 §5.2.9): through the server for a native host,
// on its path for a Teredo peer.
func (c *Client) test(p *Peer, to path, now Stamp, out *Output) {
	if !c.mayAnswer(p.key, p, p.addr(), now) {
		c.fail(p, now, out)
		return
	}
	s := p.search
	if !s.testing {
		s.testing = true
		c.random(s.nonce[:])
	}
	s.sent++
	p.sent.Store(now)
	p.recount(now)
	out.send(to, teredo.AppendEchoRequest(out.UDP.Next(), c.own, p.addr(), c.table.testID, uint16(s.sent), s.nonce[:]))
	c.wait(p, now+retryAfter)
}

// isTestReply reports whether an IPv6 packet looks like the answer to a connectivity test of ours: an Echo Reply with our
// identifier and as much data as a nonce has. The nonce itself is up to Client.answersTest.
func (t *Table) isTestReply(packet []byte) bool {
	return len(packet) == testLen && teredo.NextHeader(packet) == nextHeaderICMPv6 && packet[40] == teredo.ICMPv6EchoReply &&
		binary.BigEndian.Uint16(packet[44:]) == t.testID
}

// answersTest reports whether a datagram is the Echo Reply to the running test of its source (RFC 4380 §5.2.9). A native peer's
// relay is wherever the reply comes from; a Teredo peer must answer from its known endpoint, and a host whose other relay is tested
// by its path.
func (c *Client) answersTest(d *datagram) bool {
	p := d.peer
	if p == nil || p.search == nil || !p.search.testing || (p.isTeredo() || p.search.beside != 0) && !p.isAt(d.at) {
		return false
	}
	e, err := teredo.ParseEcho(d.ipv6)
	return err == nil && e.Type == teredo.ICMPv6EchoReply && e.ID == c.table.testID && string(e.Data) == string(p.search.nonce[:])
}

// holdForTest keeps a packet from an endpoint that is not the path of its source until the connectivity test of that source
// (RFC 4380 §5.2.9), or the nonce of a bubble, tells.
func (c *Client) holdForTest(d *datagram, from endpoint, now Stamp, out *Output) drop.Reason {
	p := c.admit(d.peer, d.src, now)
	if p == nil {
		return drop.TableFull
	}
	late := p.searching() && p.search.isLate(now)
	why := c.hold(p, held{packet: d.ipv6, from: from})
	if why == drop.None && (late || !p.search.isWaiting()) {
		c.try(p, now, out)
	}
	return why
}

// isLate reports whether the latest connectivity test has been without an answer for a while, and no packet has come from a relay
// since: the answer may have gone to another one, that the host's routers have held to be alive.
func (s *search) isLate(now Stamp) bool {
	return s.testing && s.beside == 0 && !s.spent() && now-(s.deadline-retryAfter) >= silence &&
		!slices.ContainsFunc(s.held, func(h held) bool { return h.from != 0 })
}
