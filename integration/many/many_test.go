//go:build linux

package many

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

const (
	teredoPrefix = "2001::/32"
)

// pair is a client with the native host that it talks to.
type pair struct {
	client, native int
	addr           netip.Addr
}

func TestMany(t *testing.T) {
	s := newService(t)
	s.startRouting()
	for n := range servers {
		s.startServer(serverSite(n + 1))
	}
	for n := range relays {
		s.startRelay(relaySite(n + 1))
	}
	for _, a := range []string{serverAddr1, serverAddr2} {
		s.untilAnnounced("-4", a, serverSite(1), serverSite(2))
	}
	s.untilAnnounced("-6", teredoPrefix, relaysExcept()...)
	for n := range clients {
		s.startClient(n + 1)
	}
	for n := range natives {
		s.echo(nativeName(n+1), nativeAddr(n+1))
	}
	control := []*flow{
		s.pulse("control", nativeName(1), nativeAddr(1), nativeAddr(2)),
		s.stream("control TCP", nativeName(1), nativeAddr(1), nativeName(2), nativeAddr(2), true),
	}
	var pairs []pair
	flows := make(map[pair][]*flow)
	for i := range clients {
		p := pair{i + 1, i%natives + 1, s.untilQualified(i + 1)}
		pairs = append(pairs, p)
		host := clientName(p.client)
		name := func(kind string) string { return fmt.Sprintf("%s of %s", kind, host) }
		flows[p] = []*flow{
			s.pulse(name("UDP"), host, p.addr, nativeAddr(p.native)),
			s.stream(name("upload"), host, p.addr, nativeName(p.native), nativeAddr(p.native), true),
			s.stream(name("download"), host, p.addr, nativeName(p.native), nativeAddr(p.native), false),
		}
	}
	for _, p := range pairs {
		s.untilFlows(flows[p], time.Now())
		t.Logf("%v by %v", p, s.relayOf(p.native, p.addr))
	}
	show := func(what string, began time.Time) {
		for _, c := range control {
			t.Logf("%s: %s gap %v", what, c.name, c.gap(began))
		}
		for _, p := range pairs {
			s.untilFlows(flows[p], time.Now())
			for _, f := range flows[p] {
				t.Logf("%s: %s gap %v, lost %d", what, f.name, f.gap(began), f.lost(began, time.Now().Add(-time.Second)))
			}
		}
	}
	began := time.Now()
	time.Sleep(3 * time.Second)
	show("calm", began)
	for range 2 {
		victim := s.relayOf(pairs[0].native, pairs[0].addr)
		began = time.Now()
		s.programs[victim.name].Kill()
		s.untilAnnounced("-6", teredoPrefix, relaysExcept(victim)...)
		t.Logf("withdrawn after %v", time.Since(began))
		time.Sleep(7 * time.Second)
		show("kill "+victim.name, began)
		began = time.Now()
		s.startRelay(victim)
		s.untilAnnounced("-6", teredoPrefix, relaysExcept()...)
		time.Sleep(3 * time.Second)
		show("return", began)
	}
}
