package peer_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// state is what a rig's machine says of a peer, and why a search has failed.
func (r *rig) state(a netip.Addr) string {
	r.Helper()
	for _, i := range r.m.Peers(r.now, 100) {
		if i.Address != a {
			continue
		}
		if (i.Reason != "") != (i.State == "failed") {
			r.Errorf("%s, reason %q", i.State, i.Reason)
		}
		if i.State == "failed" {
			return i.State + " " + string(i.Cause)
		}
		return i.State
	}
	return "none"
}

func (r *rig) wantState(a netip.Addr, want string) {
	r.Helper()
	if got := r.state(a); got != want {
		r.Errorf("%v after the start the state of %v is %q, want %q", r.now.Sub(epoch), a, got, want)
	}
}

// A search that has found nothing leaves a reason, until another one has found a path or the entry is forgotten.
func TestFailed(t *testing.T) {
	r, c := clientRig(t)
	r.send(data(own, host, 1))
	r.send(data(own, other, 1))
	r.wantState(host, "searching")
	r.wait(10 * time.Second)
	r.wantState(host, "failed no-relay")
	r.wantState(other, "failed silent")
	r.send(data(own, host, 2))
	r.wantState(host, "searching")
	r.receive(relay1, r.reply())
	r.wantState(host, "trusted")
	r.wait(time.Minute)
	r.wantState(host, "idle")
	r.send(data(own, other, 2)) // no bubble may be sent
	r.wantState(other, "failed silent")
	c.SetServerSilent(true)
	r.send(data(own, native(1), 1))
	r.wait(10 * time.Second)
	r.wantState(native(1), "failed server-silent")
	r.wait(10 * time.Minute)
	if infos := r.m.Peers(r.now, 10); len(infos) > 0 {
		t.Errorf("after ten minutes there are %+v", infos)
	}
}

// A failed refresh is no failure of the path, which works.
func TestFailedRefresh(t *testing.T) {
	r, _ := clientRig(t)
	r.send(data(own, host, 1))
	r.receive(relay1, r.reply())
	for range 26 {
		r.wait(time.Second)
		r.send(data(own, host, 1))
	}
	r.wantState(host, "trusted")
}

// What a stranger has asked for leaves no row, whether it fails or not.
func TestFailedStranger(t *testing.T) {
	r, _ := clientRig(t)
	r.receive(relay1, data(host, own, 1))
	r.receive(server, bubble(other, own))
	r.wait(10 * time.Second)
	if infos := r.m.Peers(r.now, 10); len(infos) > 0 || r.m.Len() != 2 {
		t.Errorf("%d entries, %+v", r.m.Len(), infos)
	}
}

// A relay gives the reason, too.
func TestRelayFailed(t *testing.T) {
	r, _ := relayRig(t)
	r.send(data(host, other, 1))
	r.wait(10 * time.Second)
	r.wantState(other, "failed silent")
	if i := r.m.Peers(r.now, 1)[0]; !strings.Contains(i.Reason, "has not answered the bubbles that went through its server 203.0.113.2") {
		t.Errorf("reason %q", i.Reason)
	}
}

// An ICMPv6 error that quotes the running test is noted, and neither delivered nor a reason to test its sender. One that only looks
// so is like any other packet of a stranger.
func TestRefusedTest(t *testing.T) {
	router := netip.MustParseAddr("2001:db8:5::1")
	refusal := func(test []byte) []byte {
		return teredo.AppendUnreachable(nil, router, teredo.UnreachableProhibited, test)
	}
	for name, change := range map[string]func(test []byte) []byte{
		"another nonce":      func(test []byte) []byte { return echoLike(test, func(e *teredo.Echo) { e.Data = []byte("guessing") }) },
		"another identifier": func(test []byte) []byte { return echoLike(test, func(e *teredo.Echo) { e.ID++ }) },
		"another host": func(test []byte) []byte {
			e, _ := teredo.ParseEcho(test)
			return teredo.AppendEchoRequest(nil, own, native(3), e.ID, e.Seq, e.Data)
		},
		"a reply":     func(test []byte) []byte { return teredo.AppendEchoReply(nil, own, test) },
		"cut short":   func(test []byte) []byte { return test[:50] },
		"other bytes": func(test []byte) []byte { return append([]byte(nil), make([]byte, 60)...) },
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := clientRig(t)
			r.send(data(own, host, 1))
			e := refusal(change(r.test))
			if len(e) == 0 { // there is none about such a packet
				return
			}
			r.receive(relay1, e)
			r.wait(10 * time.Second)
			r.wantState(host, "failed no-relay")
		})
	}
	r, c := clientRig(t)
	r.send(data(own, host, 1))
	r.want(r.receive(relay1, refusal(r.test)))
	if r.m.Knows(router) {
		t.Error("the router has an entry")
	}
	if i, _ := c.Peer(r.now, host); i.State != "searching" || i.Cause != peer.Refused {
		t.Errorf("%+v", i)
	}
	r.wait(10 * time.Second)
	r.wantState(host, "failed refused")
	want := `2001:db8:5::1 has answered with the ICMPv6 error "administratively prohibited".`
	if i, _ := c.Peer(r.now, host); i.Reason != want {
		t.Errorf("reason %q, want %q", i.Reason, want)
	}
	r.send(data(own, host, 2))
	r.wait(10 * time.Second)
	r.wantState(host, "failed no-relay")
}

// echoLike is an Echo Request that is changed.
func echoLike(test []byte, change func(*teredo.Echo)) []byte {
	e, err := teredo.ParseEcho(test)
	if err != nil {
		panic(err)
	}
	change(&e)
	return teredo.AppendEchoRequest(nil, teredo.Source(test), teredo.Destination(test), e.ID, e.Seq, e.Data)
}

// While a ping waits, workers leave its answer, and every ICMPv6 error, to the control goroutine; at other times nothing of it.
func TestPingAnswersAsked(t *testing.T) {
	r, c := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	ping := func(id uint16, size int) []byte {
		return teredo.AppendEchoRequest(nil, own, other, id, 1, make([]byte, size))
	}
	table := c.Table()
	for _, tt := range []struct {
		name   string
		packet []byte
		asks   bool
	}{
		{"reply", teredo.AppendEchoReply(nil, other, ping(table.PingID(), 8)), true},
		{"reply to a ping of the host", teredo.AppendEchoReply(nil, other, ping(table.PingID()+1, 8)), false},
		{"request", teredo.AppendEchoRequest(nil, other, own, table.PingID(), 1, make([]byte, 8)), false},
		{"error", teredo.AppendUnreachable(nil, other, teredo.UnreachablePort, data(own, other, 1)), true},
		{"data", data(other, own, 1), false},
		{"ICMPv6 without a message", icmpv6(other, own), false},
	} {
		for _, on := range []bool{true, false} {
			table.SetPinging(on)
			if got := incoming(table, tt.packet, peerMapped, 0, 1) == peer.Ask; got != (tt.asks && on) {
				t.Errorf("%s, pinging %v: asks %v", tt.name, on, got)
			}
		}
	}
}

func icmpv6(src, dst netip.Addr) []byte {
	p := data(src, dst, 1)
	p[4], p[5], p[6] = 0, 0, 58
	return p[:teredo.HeaderLen:teredo.HeaderLen]
}

// A ping goes where packets of the local stack go, and the stack hears nothing of one that fails.
func TestPingSent(t *testing.T) {
	r, c := clientRig(t)
	send := func(to netip.Addr) ([]string, drop.Reason) {
		_, why := c.Ping(r.now, to, 7, &r.out)
		return r.report(), why
	}
	got, why := send(host)
	if why != drop.None {
		t.Error(why)
	}
	r.want(got, "test own>host to server")
	test, _ := teredo.ParseEcho(r.test)
	r.want(r.receive(relay1, r.reply()), "test own>host to relay1")
	ping, _ := teredo.ParseEcho(r.test)
	if ping.ID != c.Table().PingID() || ping.Seq != 7 || test.ID == ping.ID {
		t.Errorf("test %+v, ping %+v", test, ping)
	}
	got, _ = send(host)
	r.want(got, "test own>host to relay1")
	send(native(1))
	for _, line := range r.wait(10 * time.Second) {
		if strings.Contains(line, "unreachable") {
			t.Error(line)
		}
	}
	for to, want := range map[netip.Addr]drop.Reason{
		netip.MustParseAddr("ff02::1"): drop.Scope,
		own:                            drop.Loop,
		teredo.Address{Server: server.Addr(), Mapped: netip.MustParseAddrPort("10.0.0.1:1")}.Addr(): drop.NotGlobal,
	} {
		if got, why := send(to); why != want || len(got) > 0 {
			t.Errorf("to %v: %v, %v", to, got, why)
		}
	}
	c.SetAddress(netip.Addr{})
	if _, why := send(host); why != drop.NotQualified {
		t.Error(why)
	}
}

// The time since when a peer is known counts 194 days, without room of its own, and then begins anew.
func TestKnownSince(t *testing.T) {
	const day = 24 * time.Hour
	for _, since := range []time.Duration{0, time.Second, day, 193 * day, 195 * day, 400 * day} {
		for _, age := range []time.Duration{0, time.Second, time.Hour, 194 * day} {
			if got := peer.MomentAge(peer.Stamp(since), peer.Stamp(since+age)); got != age {
				t.Errorf("known since %v, after %v it is %v", since, age, got)
			}
		}
	}
}
