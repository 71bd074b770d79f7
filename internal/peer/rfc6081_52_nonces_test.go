package peer_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// onlyNonces is the Symmetric NAT Support Extension alone.
var onlyNonces = peer.Extensions{SymmetricNAT: true}

// The pair of bubbles that a search sends, with the first nonce.
var nonced = []string{"bubble own>other to other", "bubble own>other to peer-server, nonce n1"}

// X-COM-01: hairpinning and server load reduction do without the other extensions. Of those that need others, one alone
// changes nothing.
func TestExtensionsAlone(t *testing.T) {
	t.Run("hairpinning", func(t *testing.T) {
		r, _, _ := extendedRig(t, peer.Extensions{Hairpinning: true}, restrictedNAT)
		r.want(r.send(data(own, other, 1)), nonced[0], nonced[1]+", alternates 10.0.0.1:4096")
		near := netip.MustParseAddrPort("10.0.0.7:4000")
		r.want(r.receive(near, with(nonce(r.lastNonce()))), "data 1 own>other to 10.0.0.7:4000") // X-HP-08
		r.want(r.receive(near, data(other, own, 2)), "deliver data 2 other>own")
		r.wait(3 * time.Second)
		r.want(r.receive(server, indirect(nonce(peerNonce))), "bubble own>other to 10.0.0.7:4000, nonce aaaaaaaa")
	})
	t.Run("load reduction", func(t *testing.T) {
		r, _, _ := extendedRig(t, peer.Extensions{LoadReduction: true}, restrictedNAT)
		r.want(r.send(data(own, other, 1)), pair...)
		r.receive(peerMapped, bubble(other, own))
		r.wait(40 * time.Second)
		r.want(r.receive(peerMapped, with(discovery(teredo.DiscoverySolicitation))), "bubble own>other to other, advertises")
		r.wait(40 * time.Second)
		r.want(r.send(data(own, other, 2)), "bubble own>other to other, solicits")
	})
	for name, e := range map[string]peer.Extensions{"UPnP": {UPnP: true}, "sequential": {Sequential: true}, "none": {}} {
		t.Run(name, func(t *testing.T) {
			nat := sequentialNAT
			nat.PortMapping = true
			r, _, _ := extendedRig(t, e, nat)
			if e.Sequential {
				r.m.(*peer.Client).SetNAT(restrictedNAT)
			}
			r.want(r.send(data(own, other, 1)), pair...)
			r.want(r.receive(server, indirect(nonce(peerNonce), port(5000), alternates(nearAt))))
			r.want(r.receive(peerMoved, with(nonce(peerNonce), discovery(teredo.DiscoverySolicitation))), "drop 1 unknown-peer")
			r.want(r.receive(peerMapped, with(discovery(teredo.DiscoverySolicitation))), "data 1 own>other to other")
		})
	}
}

// X-TRL-01, X-TRL-02, X-TRL-03: the trailers of bubbles are taken in their order, unknown ones are skipped or have the bubble
// dropped, and what comes before a malformed one counts.
func TestBubbleTrailers(t *testing.T) {
	skip, stop, cut := []byte{0x80, 1, 9}, []byte{0x40, 0}, []byte{1, 4, 0xcc, 0xcc, 0xcc}
	for name, c := range map[string]struct {
		trailers [][]byte
		want     string
	}{
		"X-TRL-01: the last of a kind":    {[][]byte{nonce(peerNonce), nonce(peerNonce2)}, "bubble own>other to other, nonce bbbbbbbb"},
		"X-TRL-02: unknown, skip":         {[][]byte{skip, nonce(peerNonce), skip}, "bubble own>other to other, nonce aaaaaaaa"},
		"X-TRL-02: unknown, drop":         {[][]byte{nonce(peerNonce), stop}, "drop 1 trailers"},
		"X-TRL-03: cut after the nonce":   {[][]byte{nonce(peerNonce), cut}, "bubble own>other to other, nonce aaaaaaaa"},
		"X-TRL-03: a drop after the cut":  {[][]byte{nonce(peerNonce), {1, 9}, stop}, "bubble own>other to other, nonce aaaaaaaa"},
		"X-TRL-03: a single byte":         {[][]byte{nonce(peerNonce), {1}}, "bubble own>other to other, nonce aaaaaaaa"},
		"W-TRL-07: a nonce of 3 bytes":    {[][]byte{nonce(peerNonce), {1, 3, 0xcc, 0xcc, 0xcc}}, "bubble own>other to other, nonce aaaaaaaa"},
		"W-TRL-07: a discovery of type 2": {[][]byte{nonce(peerNonce), discovery(2)}, "bubble own>other to other, nonce aaaaaaaa"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, _ := extendedRig(t, plain, restrictedNAT)
			if got := r.receive(server, indirect(c.trailers...)); len(got) == 0 || got[0] != c.want {
				t.Errorf("%q, want first %q", got, c.want)
			}
		})
	}
}

// X-SNS-02, ST-X-01: every indirect bubble has a nonce of its own, and the last one counts. X-SNS-04: direct bubbles have none before an
// indirect one has come. X-SNS-12: indirect bubbles are repeated until a direct one answers, then no more.
func TestNonceSent(t *testing.T) {
	r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
	r.want(r.send(data(own, other, 1)), nonced...)
	r.want(r.wait(5*time.Second), "2s bubble own>other to other", "2s bubble own>other to peer-server, nonce n2",
		"4s bubble own>other to other", "4s bubble own>other to peer-server, nonce n3")
	for _, old := range r.nonces[:2] {
		r.want(r.receive(peerMoved, with(nonce(old))), "drop 1 unknown-peer")
	}
	r.want(r.receive(peerMoved, with(nonce(r.nonces[2]))), "data 1 own>other to 192.0.2.10:9999")
	r.want(r.wait(10 * time.Second))
}

// X-SNS-03, X-SNS-05, X-SNS-06, ST-X-01, A-50: direct bubbles carry the nonce of the peer's last indirect bubble, however old, and none when
// that had none.
func TestNonceReceived(t *testing.T) {
	r, _, _ := extendedRig(t, plain, restrictedNAT)
	r.want(r.receive(server, indirect(nonce(peerNonce))),
		"bubble own>other to other, nonce aaaaaaaa", "bubble own>other to peer-server, nonce n1")
	r.wait(3 * time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce2))),
		"bubble own>other to other, nonce bbbbbbbb", "bubble own>other to peer-server, nonce n2")
	r.wait(100 * time.Millisecond)
	r.want(r.receive(peerMapped, bubble(other, own)))
	r.wait(40 * time.Second)
	r.want(r.send(data(own, other, 1)), "bubble own>other to other, nonce bbbbbbbb, solicits")
	r.wait(100 * time.Millisecond)
	r.receive(peerMapped, bubble(other, own))
	r.wait(3 * time.Second)
	r.want(r.receive(server, indirect()), "bubble own>other to other") // X-SNS-06
	r.wait(3 * time.Second)
	r.want(r.receive(server, indirect(nonce([4]byte{}))), "bubble own>other to other") // zero is none
}

// X-SNS-07, X-SNS-08, X-SNS-09, C-RX-18, A-09: which direct bubbles are accepted, and where data goes then.
func TestNonceProvesPath(t *testing.T) {
	wrong := [4]byte{0xcc}
	for name, c := range map[string]struct {
		from     netip.AddrPort
		trailers func(sent [4]byte) []byte
		want     string
	}{
		"X-SNS-07: its mapping, without a nonce":    {peerMapped, func([4]byte) []byte { return nil }, "data 1 own>other to other"},
		"X-SNS-07: its mapping, with a wrong nonce": {peerMapped, func([4]byte) []byte { return nonce(wrong) }, "data 1 own>other to other"},
		"X-SNS-08: elsewhere, with the nonce":       {peerMoved, nonce, "data 1 own>other to 192.0.2.10:9999"},
		"X-SNS-08: elsewhere, without a nonce":      {peerMoved, func([4]byte) []byte { return nil }, "drop 1 unknown-peer"},
		"X-SNS-08: elsewhere, with a wrong nonce":   {peerMoved, func([4]byte) []byte { return nonce(wrong) }, "drop 1 unknown-peer"},
		"X-SNS-08: elsewhere, with part of it":      {peerMoved, func(n [4]byte) []byte { return []byte{1, 3, n[0], n[1], n[2]} }, "drop 1 unknown-peer"},
		"X-SNS-11: elsewhere, with nonce zero":      {peerMoved, func([4]byte) []byte { return nonce([4]byte{}) }, "drop 1 unknown-peer"},
		"port 0, with the nonce":                    {netip.MustParseAddrPort("192.0.2.10:0"), nonce, "drop 1 not-global"},
		"a private address, without the nonce":      {nearAt, func([4]byte) []byte { return nonce(wrong) }, "drop 1 not-global"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
			r.send(data(own, other, 1))
			r.want(r.receive(c.from, with(c.trailers(r.lastNonce()))), c.want)
			if c.want[:4] == "drop" { // the search goes on
				for _, line := range r.receive(c.from, data(other, own, 2)) {
					r.want([]string{line}, "drop 1 not-global") // or it waits, see TestDataBeforeNonce
				}
				r.wait(time.Second)
				if got := r.receive(peerMapped, bubble(other, own)); len(got) == 0 || got[0] != "data 1 own>other to other" {
					t.Errorf("%q", got)
				}
				return
			}
			r.want(r.receive(c.from, data(other, own, 2)), "deliver data 2 other>own")
			r.want(r.receive(c.from, bubble(other, own))) // the trusted path needs no nonce
			r.want(r.receive(c.from, with(nonce(wrong))))
			r.want(r.send(data(own, other, 3)), "data 3"+c.want[6:])
		})
	}
}

// X-SNS-11: before an indirect bubble was sent, no nonce proves anything, zero least of all. A nonce proves one path: that which
// comes second has to do without, and so has one that comes when the entry is gone.
func TestNonceCountsOnce(t *testing.T) {
	r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
	for _, n := range [][4]byte{{}, peerNonce} {
		r.want(r.receive(peerMoved, with(nonce(n))), "drop 1 unknown-peer") // no entry
	}
	r.receive(peerMapped, bubble(other, own)) // an entry for which no indirect bubble was sent
	r.want(r.receive(peerMoved, with(nonce([4]byte{}))), "drop 1 unknown-peer")

	r, _, _ = extendedRig(t, onlyNonces, restrictedNAT)
	r.send(data(own, other, 1))
	n := r.lastNonce()
	r.want(r.receive(peerMoved, with(nonce(n))), "data 1 own>other to 192.0.2.10:9999")
	r.want(r.receive(relay2, with(nonce(n))), "drop 1 unknown-peer")
	r.want(r.receive(peerMoved, with(nonce(n)))) // it may be repeated
	r.want(r.send(data(own, other, 2)), "data 2 own>other to 192.0.2.10:9999")

	r, c, _ := extendedRig(t, onlyNonces, restrictedNAT)
	r.send(data(own, other, 1))
	n = r.lastNonce()
	c.SetAddress(teredo.Address{Server: server.Addr(), Flags: 1, Mapped: ownMapped}.Addr())
	c.SetAddress(own)
	r.report()
	r.want(r.receive(peerMoved, with(nonce(n))), "drop 1 unknown-peer")
}

// X-SNS-08, X-PP-10: a peer whose NAT has made another mapping is found again: the nonce is right about a path that was
// idle, although our own bubbles have just been sent.
func TestNonceMovesIdlePath(t *testing.T) {
	for name, nat := range map[string]peer.NAT{"restricted": restrictedNAT, "preserving": preservingNAT} {
		t.Run(name, func(t *testing.T) {
			r, _, _ := extendedRig(t, ported, restrictedNAT)
			r.send(data(own, other, 1))
			r.want(r.receive(peerMoved, with(nonce(r.lastNonce()))), "data 1 own>other to 192.0.2.10:9999")
			r.m.(*peer.Client).SetNAT(nat)
			r.wait(40 * time.Second)
			r.receive(server, indirect(nonce(peerNonce)))
			again := netip.MustParseAddrPort("192.0.2.10:9001")
			r.want(r.receive(again, with(nonce(r.lastNonce()))))
			r.want(r.send(data(own, other, 2)), "data 2 own>other to 192.0.2.10:9001")
		})
	}
}

// X-SNS-10, X-SNS-11: nonces come from the source of randomness, and zero is drawn again.
func TestNonceIsNeverZero(t *testing.T) {
	var drops, draws = 0, [][]byte{nil, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 1}}
	_, cfg := newRig(t)
	cfg.Extensions = onlyNonces
	cfg.Rand = func(b []byte) {
		clear(b)
		copy(b, draws[min(drops, 3)])
		drops++
	}
	c := peer.NewClient(epoch, cfg)
	c.SetAddress(own)
	var out peer.Output
	c.Outbound(epoch, data(own, other, 1), &out)
	if sent := out.UDP.Datagrams()[1].Payload; !bytes.HasSuffix(sent, []byte{1, 4, 0, 0, 0, 1}) || drops != 4 {
		t.Errorf("sent %x after %d draws", sent, drops)
	}
}

// X-SNS-12, C-RX-06, C-BUB-03: an untrusted peer's indirect bubble is answered by a direct and an indirect one, a trusted peer's by a direct
// one on its path. A new nonce is answered directly also within 2 s, a repeated one is not; four in 300 s are the limit.
func TestAnswerToNonce(t *testing.T) {
	r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
	r.want(r.receive(server, indirect(nonce(peerNonce))),
		"bubble own>other to other, nonce aaaaaaaa", "bubble own>other to peer-server, nonce n1")
	r.want(r.receive(server, indirect(nonce(peerNonce))))
	r.want(r.receive(server, indirect(nonce(peerNonce2))), "bubble own>other to other, nonce bbbbbbbb")
	r.wait(time.Second)
	r.want(r.receive(peerMoved, with(nonce(r.lastNonce()))))
	r.want(r.receive(server, indirect(nonce(peerNonce))), "bubble own>other to 192.0.2.10:9999, nonce aaaaaaaa")
	for n := range byte(20) {
		got := r.receive(server, indirect(nonce([4]byte{1, n})))
		if want := n < 3; (len(got) == 1) != want {
			t.Errorf("new nonce %d is answered by %q", n, got)
		}
	}
}

// X-SNS-12, C-RX-15: data from a place that is not known waits, if it comes from a global address, until the peer was verified to be there; a
// peer that is somewhere else has not sent it.
func TestDataBeforeNonce(t *testing.T) {
	r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
	r.want(r.receive(peerMoved, data(other, own, 1)), nonced...)
	r.want(r.receive(relay2, data(other, own, 2)))
	r.want(r.receive(peerMoved, with(nonce(r.lastNonce()))), "deliver data 1 other>own", "drop 1 untested")
	r.want(r.receive(relay2, data(other, own, 3)), "test own>other to 192.0.2.10:9999")
	r.want(r.receive(peerMoved, r.reply()), "drop 1 untested")
	r.want(r.receive(nearAt, data(other, own, 4)), "drop 1 not-global")
}
