package peer_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// carrier is what clients and relays have for those who carry packets besides the workers.
type carrier interface {
	Confirmed(now time.Time, local, peer netip.Addr) (to netip.AddrPort, heard time.Time, ok bool)
	Carried(now time.Time, peer netip.Addr, to netip.AddrPort, heard time.Time, sent, received peer.Traffic) bool
}

// A path is for others than the workers as long as it needs no refresh, if it leads from the service port and back there, and
// if the packets may be sent at all (C-TX-10, H-02, R-RX-04).
func TestConfirmed(t *testing.T) {
	toPeer := func(r *rig) { r.receive(peerMapped, bubble(other, own)) }
	fromHost := func(r *rig) {
		r.send(data(host, other, 0))
		r.receive(peerMapped, bubble(other, relayLL))
	}
	for name, c := range map[string]struct {
		rig         func(testing.TB) *rig
		open        func(*rig)
		age         time.Duration // of the path
		local, peer netip.Addr
		want        netip.AddrPort // zero: not confirmed
	}{
		"client":             {newClientRig, toPeer, 0, own, other, peerMapped},
		"almost 20 s old":    {newClientRig, toPeer, 20*time.Second - 1, own, other, peerMapped},
		"20 s old":           {newClientRig, toPeer, 20 * time.Second, own, other, netip.AddrPort{}},
		"another source":     {newClientRig, toPeer, 0, client(1), other, netip.AddrPort{}},
		"unknown":            {newClientRig, toPeer, 0, own, client(1), netip.AddrPort{}},
		"searching":          {newClientRig, func(r *rig) { r.send(data(own, other, 1)) }, 0, own, other, netip.AddrPort{}},
		"through a relay":    {newClientRig, openRelay, 0, own, host, relay1},
		"not qualified":      {newClientRig, func(r *rig) { toPeer(r); r.m.(*peer.Client).SetAddress(netip.Addr{}) }, 0, own, other, netip.AddrPort{}},
		"random port":        {func(t testing.TB) *rig { r, _, _ := portRig(t, ported); return r }, func(*rig) {}, 0, own, other, netip.AddrPort{}},
		"asymmetric":         {asymmetricRig, func(*rig) {}, 0, own, other, netip.AddrPort{}},
		"relay":              {newRelayRig, fromHost, time.Second, host, other, peerMapped},
		"relay, 20 s old":    {newRelayRig, fromHost, 20 * time.Second, host, other, netip.AddrPort{}},
		"relay, as a client": {newRelayRig, fromHost, 0, own, other, netip.AddrPort{}},
		"relay for others": {newRelayRig, func(r *rig) { fromHost(r); r.m.(*peer.Relay).Serve([]netip.Prefix{}, nil) },
			0, host, other, netip.AddrPort{}},
		"relay's own host": {newRelayRig, func(r *rig) { fromHost(r); r.m.(*peer.Relay).Serve(nil, []netip.Addr{host}) },
			0, host, other, netip.AddrPort{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.rig(t)
			r.wait(time.Second)
			c.open(r)
			opened := r.now
			r.wait(c.age)
			to, heard, ok := r.m.(carrier).Confirmed(r.now, c.local, c.peer)
			if ok != c.want.IsValid() || to != c.want || ok && !heard.Equal(opened) {
				t.Errorf("%v %v, heard %v after the start; want %v, %v", ok, to, heard.Sub(epoch), c.want, opened.Sub(epoch))
			}
		})
	}
}

// openRelay opens a client's path to the host through a relay.
func openRelay(r *rig) {
	r.send(data(own, host, 0))
	r.receive(relay1, r.reply())
}

// asymmetricRig is a client that sends to the mapping in its peer's address, and hears from it by another one (X-UPNP-08).
func asymmetricRig(t testing.TB) *rig {
	r, _, _ := extendedRig(t, plain, upnpNAT)
	r.send(data(own, other, 1))
	r.want(r.receive(peerMoved, with(nonce(r.lastNonce()))), "data 1 own>other to other")
	return r
}

// traffic is so many packets of 100 bytes.
func traffic(packets uint64) peer.Traffic {
	return peer.Traffic{Packets: packets, Bytes: 100 * packets}
}

// What a worker has heard since counts for the time.
func TestConfirmedHeard(t *testing.T) {
	r, c := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	r.wait(15 * time.Second)
	r.receive(peerMapped, data(other, own, 1))
	at := r.now
	r.wait(19 * time.Second)
	if to, heard, ok := c.Confirmed(r.now, own, other); !ok || to != peerMapped || !heard.Equal(at) {
		t.Errorf("%v %v, heard %v after the start", ok, to, heard.Sub(epoch))
	}
}

// info is the entry of the peer, which must be there.
func (r *rig) info(a netip.Addr) peer.Info {
	r.Helper()
	for _, i := range r.m.Peers(r.now, 100) {
		if i.Address == a {
			return i
		}
	}
	r.Fatalf("%v after the start: %v is not on the list", r.now.Sub(epoch), a)
	return peer.Info{}
}

// wantUse checks what the list says about the use of the peer.
func (r *rig) wantUse(sent, received uint64, sentAgo, heardAgo float64) {
	r.Helper()
	i := r.info(other)
	if i.SentPackets != sent || i.ReceivedPackets != received || i.SentSeconds != sentAgo || i.HeardSeconds != heardAgo {
		r.Errorf("%+v; want %d sent, %d received, %v s and %v s ago", i, sent, received, sentAgo, heardAgo)
	}
}

// ST-C-03: what others have carried shows in the list as what the workers have.
func TestCarried(t *testing.T) {
	r, c := clientRig(t)
	carried := func(heardAgo time.Duration, sent, received uint64) {
		t.Helper()
		if !c.Carried(r.now, other, peerMapped, r.now.Add(-heardAgo), traffic(sent), traffic(received)) {
			t.Error("that is not the path of the peer")
		}
	}
	r.receive(peerMapped, bubble(other, own))
	r.wait(5 * time.Second)
	carried(2*time.Second, 7, 9)
	r.wantUse(7, 9, 0, 2)
	r.wait(4 * time.Second)
	carried(3*time.Second, 0, 1) // nothing sent
	r.wantUse(7, 10, 4, 3)
	carried(8*time.Second, 0, 0) // the workers have heard of it since
	r.wantUse(7, 10, 4, 3)
	if _, heard, ok := c.Confirmed(r.now, own, other); !ok || r.now.Sub(heard) != 3*time.Second {
		t.Errorf("%v, heard %v ago", ok, r.now.Sub(heard))
	}
	r.wait(time.Second)
	r.want(r.send(data(own, other, 1)), "data 1 own>other to other")
	r.receive(peerMapped, data(other, own, 1))
	carried(4*time.Second, 1, 1)
	r.wantUse(9, 12, 0, 0)
	// Each of the workers' packets has 48 bytes.
	if i := r.info(other); i.SentBytes != 8*100+48 || i.ReceivedBytes != 11*100+48 {
		t.Errorf("%d bytes sent, %d received", i.SentBytes, i.ReceivedBytes)
	}
}

// What was carried by any other path counts for nothing.
func TestCarriedElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		open func(t testing.TB) *rig
		peer netip.Addr
		to   netip.AddrPort
	}{
		"unknown peer":      {newClientRig, client(1), teredo.Mapped(client(1))},
		"no path":           {func(t testing.TB) *rig { r := newClientRig(t); r.send(data(own, other, 1)); return r }, other, peerMapped},
		"another endpoint":  {func(t testing.TB) *rig { r := newClientRig(t); openRelay(r); return r }, host, relay2},
		"from another port": {func(t testing.TB) *rig { r, _, _ := portRig(t, ported); return r }, other, peerPort},
		// X-UPNP-08: what goes to where it comes from now goes to the wrong place.
		"the way back": {asymmetricRig, other, peerMoved},
		"asymmetric":   {asymmetricRig, other, peerMapped},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.open(t)
			r.wait(time.Second)
			before := r.m.Peers(r.now, 10)
			if r.m.(carrier).Carried(r.now, c.peer, c.to, r.now, traffic(1), traffic(1)) {
				t.Error("that is its path")
			}
			for i, after := range r.m.Peers(r.now, 10) {
				if after != before[i] {
					t.Errorf("%+v, and %+v before", after, before[i])
				}
			}
		})
	}
}

// K-07: packets that others have carried keep a path valid, and it is refreshed 20 s after the last of them.
func TestCarriedKeepsPath(t *testing.T) {
	for name, newRig := range map[string]func(testing.TB) *rig{"client": newClientRig, "relay": newRelayRig} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			local, refresh := own, "test own>other to other"
			if name == "relay" {
				local, refresh = host, knock
			}
			r.m.Establish(other, peerMapped, r.m.Table().Stamp(r.now))
			for range 100 {
				r.want(r.wait(15 * time.Second))
				if !r.m.(carrier).Carried(r.now, other, peerMapped, r.now, traffic(0), traffic(1)) {
					t.Fatal("the path is gone")
				}
			}
			r.wait(20*time.Second - 1)
			if lines := r.send(data(local, other, 1)); len(lines) != 1 {
				t.Errorf("before the time: %v", lines)
			}
			r.wait(1)
			if lines := r.send(data(local, other, 2)); len(lines) != 2 || lines[1] != refresh {
				t.Errorf("in time: %v", lines)
			}
		})
	}
}

// A packet of the peer that others have carried ends a refresh under way, and another one follows when there is need again.
func TestRefreshEndedByOthers(t *testing.T) {
	r, c := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	for n := range uint32(3) {
		r.wait(20 * time.Second)
		r.want(r.send(data(own, other, n)), fmt.Sprintf("data %d own>other to other", n), "test own>other to other")
		c.Carried(r.now, other, peerMapped, r.now, traffic(1), traffic(1))
		r.want(r.wait(10 * time.Second))
		c.Carried(r.now, other, peerMapped, r.now, traffic(0), traffic(1))
	}
	if r.m.Waiting() != 0 {
		t.Error("the refresh goes on")
	}
}

// A refresh goes on when others have heard nothing new.
func TestRefreshGoesOn(t *testing.T) {
	r, c := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	opened := r.now
	r.wait(20 * time.Second)
	r.want(r.send(data(own, other, 1)), "data 1 own>other to other", "test own>other to other")
	c.Carried(r.now, other, peerMapped, opened, traffic(1), traffic(0))
	if _, _, v := c.Table().Outgoing(data(own, other, 2), 1, 48, c.Table().Stamp(r.now)); v != peer.Carry {
		t.Errorf("a worker's action is %v", v) // it has asked already
	}
	r.want(r.wait(2*time.Second), "2s test own>other to other")
}

// Data of the peer ends a doubt about its path, whoever has carried it.
func TestDoubtEndedByOthers(t *testing.T) {
	r := doubtful(t, symmetricNAT)
	r.m.(carrier).Carried(r.now, other, peerMapped, r.now, traffic(0), traffic(1))
	r.want(r.wait(20 * time.Second))
}

// SEC-DOS-01: packets that others have carried prove a peer, so that a flood of new ones does not push it out; a single one,
// which may be spoofed, does not.
func TestCarriedProves(t *testing.T) {
	for _, c := range []struct {
		sent, received uint64
		stays          bool
	}{{0, 0, false}, {1, 1, false}, {0, 2, false}, {1, 2, true}} {
		r, cfg := newRig(t)
		cfg.Capacity = 8
		m := peer.NewClient(r.now, cfg)
		m.SetAddress(own)
		r.m = m
		r.receive(peerMapped, bubble(other, own))
		m.Carried(r.now, other, peerMapped, r.now, traffic(c.sent), traffic(c.received))
		r.wait(30 * time.Second) // until then it lives
		for n := range 100 {
			r.receive(teredo.Mapped(client(n)), bubble(client(n), own))
		}
		if r.m.Knows(other) != c.stays {
			t.Errorf("%d sent, %d received: it is on the list: %v", c.sent, c.received, !c.stays)
		}
	}
}

// ST-C-06: a peer that only others carry packets of counts as used: it is neither forgotten as idle nor evicted as the one that
// was used longest ago.
func TestCarriedIsUse(t *testing.T) {
	r, cfg := newRig(t)
	cfg.Capacity = 16
	m := peer.NewClient(r.now, cfg)
	m.SetAddress(own)
	r.m = m
	for n := range 16 {
		r.m.Establish(client(n), teredo.Mapped(client(n)), r.m.Table().Stamp(r.now))
		r.wait(time.Millisecond)
	}
	m.Carried(r.now, client(0), teredo.Mapped(client(0)), epoch, traffic(1), traffic(0))
	m.Carried(r.now, client(1), teredo.Mapped(client(1)), r.now, traffic(0), traffic(1))
	for n := 16; n < 20; n++ {
		r.wait(time.Millisecond)
		r.m.Establish(client(n), teredo.Mapped(client(n)), r.m.Table().Stamp(r.now))
	}
	if !r.m.Knows(client(0)) || !r.m.Knows(client(1)) || r.m.Knows(client(2)) {
		t.Error("those went that were in use")
	}
	r.report()
	for range 60 {
		r.wait(10 * time.Second)
		m.Carried(r.now, client(0), teredo.Mapped(client(0)), r.now, traffic(0), traffic(1))
	}
	if r.m.Len() != 1 || !r.m.Knows(client(0)) {
		t.Errorf("%d peers after ten minutes, the one in use among them: %v", r.m.Len(), r.m.Knows(client(0)))
	}
}
