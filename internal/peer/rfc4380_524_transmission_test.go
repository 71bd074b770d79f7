package peer_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// C-TX-01, K-07, A-48: an entry carries packets while it was heard of less than 30 s ago; 30 s is too long.
func TestClientValidity(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		want  []string
	}{
		{0, []string{"data 1 own>other to other"}},
		{20*time.Second - 1, []string{"data 1 own>other to other"}},
		{30*time.Second - 1, []string{"data 1 own>other to other", "test own>other to other"}},
		{30 * time.Second, []string{"bubble own>other to other", "bubble own>other to peer-server"}},
		{time.Hour, []string{"bubble own>other to other", "bubble own>other to peer-server"}},
	} {
		t.Run(c.after.String(), func(t *testing.T) {
			r, _ := clientRig(t)
			r.receive(peerMapped, bubble(other, own))
			r.wait(c.after)
			r.want(r.send(data(own, other, 1)), c.want...)
		})
	}
}

// C-TX-02, C-DCT-01..04, K-11: a packet to a native host waits for the test through our own server, which is repeated up to
// three times with the same nonce; then it is dropped, and the sender is told.
func TestClientToNative(t *testing.T) {
	for lost := range 5 {
		t.Run(fmt.Sprintf("%d tests lost", lost), func(t *testing.T) {
			r, _ := clientRig(t)
			r.want(r.send(data(own, host, 1)), "test own>host to server")
			r.want(r.send(data(own, host, 2)))
			nonce := string(r.test[48:])
			for i := range min(lost, 3) {
				r.want(r.wait(2*time.Second), "2s test own>host to server")
				if string(r.test[48:]) != nonce {
					t.Errorf("repeat %d has another nonce", i+1)
				}
			}
			if lost == 4 {
				r.want(r.wait(2*time.Second), "2s deliver unreachable server>own, data 1 own>host",
					"2s deliver unreachable server>own, data 2 own>host", "2s drop 2 no-path")
				r.want(r.send(data(own, host, 3)), "test own>host to server") // and the next one tries anew
				if string(r.test[48:]) == nonce {
					t.Error("C-DCT-03: the next test has the same nonce")
				}
				return
			}
			r.want(r.receive(relay1, r.reply()), "data 1 own>host to relay1", "data 2 own>host to relay1")
			r.want(r.wait(10 * time.Second))
		})
	}
}

// C-DCT-02, W-ECHO-01: what the test looks like.
func TestClientConnectivityTest(t *testing.T) {
	r, _ := clientRig(t)
	r.send(data(own, host, 1))
	e, err := teredo.ParseEcho(r.test)
	if err != nil || e.Type != teredo.ICMPv6EchoRequest || len(e.Data) < 8 {
		t.Errorf("%+v, %v", e, err)
	}
	if src, dst := teredo.Source(r.test), teredo.Destination(r.test); src != own || dst != host {
		t.Errorf("from %v to %v", src, dst)
	}
}

// C-TX-06, C-TX-07, K-10, W-BUB-02, W-BUB-03: a packet to another client waits; a direct bubble and an indirect one through the peer's server
// (C-BUB-02) go out, and again every 2 s, four times in all. C-TX-04, C-TX-05: the cone bit makes no difference.
func TestClientToTeredo(t *testing.T) {
	cone := teredo.Address{Server: peerServer.Addr(), Flags: teredo.FlagCone, Mapped: peerMapped}.Addr()
	for name, dst := range map[string]netip.Addr{"other": other, cone.String(): cone} {
		for lost := range 5 {
			t.Run(fmt.Sprintf("%s, %d pairs lost", name, lost), func(t *testing.T) {
				r, _ := clientRig(t)
				direct, indirect := "bubble own>"+name+" to other", "bubble own>"+name+" to peer-server"
				r.want(r.send(data(own, dst, 1)), direct, indirect)
				r.want(r.send(data(own, dst, 2)))
				for range min(lost, 3) {
					r.want(r.wait(2*time.Second), "2s "+direct, "2s "+indirect)
				}
				if lost == 4 {
					r.want(r.wait(time.Minute), "2s deliver unreachable server>own, data 1 own>"+name,
						"2s deliver unreachable server>own, data 2 own>"+name, "2s drop 2 no-path")
					return
				}
				r.want(r.receive(peerMapped, bubble(dst, own)), "data 1 own>"+name+" to other", "data 2 own>"+name+" to other")
				r.want(r.wait(10 * time.Second))
			})
		}
	}
}

// C-TX-08, SEC-V4-01, SEC-V4-02, SEC-V4-03: neither bubble nor data for an address with a non-global mapping or server.
func TestClientSendsToGlobalOnly(t *testing.T) {
	bad := []string{
		"0.0.0.1", "10.0.0.1", "127.0.0.1", "169.254.1.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.88.99.1",
		"224.0.0.253", "239.1.1.1", "255.255.255.255", "100.64.0.1", "198.18.0.1", "240.0.0.1",
	}
	for _, ip := range bad {
		at := netip.MustParseAddr(ip)
		for _, dst := range []netip.Addr{
			teredo.Address{Server: peerServer.Addr(), Mapped: netip.AddrPortFrom(at, 4000)}.Addr(),
			teredo.Address{Server: at, Mapped: peerMapped}.Addr(),
			teredo.Address{Server: at, Flags: teredo.FlagCone, Mapped: peerMapped}.Addr(),
		} {
			r, _ := clientRig(t)
			r.want(r.send(data(own, dst, 1)), "drop 1 not-global")
			r.want(r.wait(time.Minute))
		}
	}
	r, _ := clientRig(t)
	r.want(r.send(data(own, teredo.Address{Server: peerServer.Addr(), Mapped: netip.AddrPortFrom(peerMapped.Addr(), 0)}.Addr(), 1)),
		"drop 1 not-global")
}

// C-TX-10: only our own address may send, and only to global destinations.
func TestClientRefusesToSend(t *testing.T) {
	r, c := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	twin := teredo.Address{Server: server.Addr(), Flags: 1, Mapped: ownMapped}.Addr()
	for _, src := range []netip.Addr{twin, host, other, relayLL, netip.IPv6Unspecified()} {
		r.want(r.send(data(src, other, 1)), "drop 1 source")
		r.want(r.send(data(src, host, 1)), "drop 1 source")
	}
	for _, dst := range []string{"ff02::2", "ff02::1", "ff0e::1", "fe80::1", "febf::1", "::", "::1", "::ffff:1.2.3.4"} {
		r.want(r.send(data(own, netip.MustParseAddr(dst), 1)), "drop 1 scope")
	}
	r.want(r.send(data(own, other, 1)[:39]), "drop 1 not-ipv6")
	r.want(r.send(append([]byte{0x45}, data(own, host, 1)[1:]...)), "drop 1 not-ipv6")
	r.want(r.send(data(own, host, 1)[:45]), "drop 1 not-ipv6")

	c.SetAddress(netip.Addr{})
	r.want(r.send(data(own, other, 1)), "drop 1 not-qualified")
}

// C-TX-09: a queue has room for so many packets and so many bytes; what has room leaves in the order it came.
func TestClientQueueOfOnePeer(t *testing.T) {
	for _, c := range []struct {
		name       string
		size, room int
	}{
		{"packets", 48, peer.MaxHeld},
		{"bytes", 1280, peer.MaxHeldBytes / 1280},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := clientRig(t)
			var want []string
			for i := range c.room + 3 {
				got := r.send(sized(own, other, uint32(i), c.size))
				switch {
				case i == 0:
				case i < c.room:
					r.want(got)
				default:
					r.want(got, "drop 1 queue-full")
				}
				if i < c.room {
					want = append(want, fmt.Sprintf("data %d own>other to other", i))
				}
			}
			r.want(r.receive(peerMapped, bubble(other, own)), want...)
			if r.m.Held() != 0 {
				t.Errorf("%d bytes are still held", r.m.Held())
			}
		})
	}
}

// C-TX-09: all queues together have a bound. Beyond it a path is still looked for, so that later packets have one.
func TestClientQueuesInTotal(t *testing.T) {
	r, cfg := newRig(t)
	cfg.Capacity = 4096
	c := peer.NewClient(r.now, cfg)
	c.SetAddress(own)
	r.m = c
	full := 0
	for n := 0; full == 0; n++ {
		for i := range uint32(25) {
			r.outgoing(sized(own, client(n), i, 1280))
		}
		if n > 1000 {
			t.Fatal("no bound")
		}
		full = int(r.drops.Snapshot()["queue-full"])
	}
	r.report()
	if room := peer.MaxHeldInTotal - r.m.Held(); room < 0 || room >= 1280 {
		t.Errorf("room for %d bytes", room)
	}
	r.want(r.send(sized(own, other, 1, 1280)), "bubble own>other to other", "bubble own>other to peer-server", "drop 1 queue-full")
	r.want(r.receive(peerMapped, bubble(other, own)))
	r.want(r.send(sized(own, other, 2, 1280)), "data 2 own>other to other")

	r.wait(20 * time.Second)
	if r.m.Held() != 0 || r.m.Waiting() != 0 {
		t.Errorf("%d bytes held, %d searches", r.m.Held(), r.m.Waiting())
	}
}

// SEC-DOS-01: packets from made-up native sources take half of the room at most; ours still have theirs.
func TestClientQueueRoomForOwnPackets(t *testing.T) {
	r, cfg := newRig(t)
	cfg.Capacity = 1 << 16
	c := peer.NewClient(r.now, cfg)
	c.SetAddress(own)
	r.m = c
	for n := range 2 * peer.MaxHeldInTotal / 4096 {
		src := native(0).As16() // in one of 256 networks, which are as many as have a test at once
		binary.BigEndian.PutUint32(src[4:], uint32(n%256))
		r.incoming(relay1, sized(netip.AddrFrom16(src), own, 1, 4096))
	}
	r.report()
	if got := r.m.Held(); got > peer.MaxHeldInTotal/2 || got < peer.MaxHeldInTotal/2-4096 {
		t.Errorf("%d bytes are held", got)
	}
	r.want(r.send(sized(own, other, 1, 1280)), "bubble own>other to other", "bubble own>other to peer-server")
	r.want(r.receive(peerMapped, bubble(other, own)), "data 1 own>other to other")
}

// RFC 4443 §2.4(f): so many errors at once, and no more than that each second. §2.4(e): none about an error.
func TestUnreachableRate(t *testing.T) {
	r, _ := clientRig(t)
	send := func() (errors int) {
		for n := range 2 * peer.ErrorsAtOnce / peer.MaxHeld {
			for i := range uint32(peer.MaxHeld) {
				r.outgoing(data(own, native(n), i))
			}
		}
		r.report()
		for _, line := range r.wait(9 * time.Second) {
			if len(line) > 14 && line[3:14] == "deliver unr" {
				errors++
			}
		}
		return errors
	}
	if n := send(); n != peer.ErrorsAtOnce {
		t.Errorf("%d errors at once, want %d", n, peer.ErrorsAtOnce)
	}
	if n := send(); n != peer.ErrorsAtOnce {
		t.Errorf("%d errors 9 s later, want %d", n, peer.ErrorsAtOnce)
	}

	r, _ = clientRig(t)
	r.send(teredo.AppendUnreachable(nil, own, teredo.UnreachablePort, data(host, own, 1)))
	r.want(r.wait(9*time.Second), "2s test own>host to server", "4s test own>host to server", "6s test own>host to server",
		"8s drop 1 no-path")
}

// C-MNT-04: another address means another mapping, through which no old path leads. The same address again keeps them.
func TestClientAddressChange(t *testing.T) {
	r, c := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	r.send(data(own, host, 1))

	c.SetAddress(netip.Addr{})
	if v := incoming(r.m.Table(), data(other, own, 1), peerMapped, 0, 0); v != peer.Ask {
		t.Error("a packet is taken for the address that was withdrawn")
	}
	r.want(r.wait(10*time.Second), "2s deliver unreachable server>own, data 1 own>host", "2s drop 1 no-path")
	c.SetAddress(own)
	r.want(r.send(data(own, other, 2)), "data 2 own>other to other")

	r.want(r.send(data(own, host, 3)), "test own>host to server")
	moved := teredo.Address{Server: peerServer.Addr(), Mapped: relay2}.Addr()
	c.SetAddress(moved)
	r.want(r.report(), "drop 1 no-path")
	if r.m.Len() != 0 || r.m.Held() != 0 || r.m.Waiting() != 0 {
		t.Errorf("%d entries, %d bytes, %d searches are left", r.m.Len(), r.m.Held(), r.m.Waiting())
	}
	r.want(r.send(data(own, host, 4)), "drop 1 source")
	r.want(r.send(data(moved, host, 5)), "test "+moved.String()+">host to peer-server")
	r.want(r.receive(relay1, data(host, own, 6)), "drop 1 destination")
	r.want(r.receive(server, via(relay1, bubble(relayLL, moved))), "drop 1 unknown-peer") // not our server any more
}
