//go:build linux

package many

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	teredoPrefix = "2001::/32"

	// How long our clients' traffic may be interrupted, when everything else on this machine goes on (see observation.most).
	killed = 2 * time.Second
	cut    = 4 * time.Second // BFD takes 1.5 s to find it out; a test that was sent before is repeated 2 s later
	// Nothing is lost, and so TCP has no more to do than to wait for one search.
	moved = time.Second

	flaps = 10

	// When something else stops the programs for so long, a figure may be wrong, and the scenario is tried again.
	disturbed = 500 * time.Millisecond
	attempts  = 3
)

// TestService has traffic between all clients and native hosts go on while parts of the service fail, one after the other. The log
// has the longest interruption of each kind of traffic.
func TestService(t *testing.T) {
	s := newService(t)
	s.startAll()
	for _, scenario := range []struct {
		name string
		run  func(*service) error
	}{
		{"drain a relay", (*service).drainRelay},
		{"flap a route", (*service).flapRoute},
		{"restart a server site", (*service).restartServerSite},
		{"kill a relay", (*service).killRelay},
		{"cut a link", (*service).cutLink},
		{"overload a relay", (*service).overloadRelay},
	} {
		if !t.Run(scenario.name, func(t *testing.T) { s.in(t).attempt(scenario.run) }) {
			return // what follows would start from a broken state
		}
	}
	s.untilFlows(s.flows, time.Now())
}

// attempt runs a scenario, again if it fails on a machine that was too busy.
func (s *service) attempt(scenario func(*service) error) {
	s.t.Helper()
	for n := 1; ; n++ {
		s.stalled = 0
		err := scenario(s)
		if err == nil {
			return
		}
		if n == attempts || s.stalled < disturbed {
			s.t.Fatal(err)
		}
		s.t.Logf("the machine was stalled for %v, so this counts for nothing: %v", s.stalled, err)
	}
}

// startAll starts everything, and the traffic.
func (s *service) startAll() {
	s.t.Helper()
	s.startRouting()
	for n := range servers {
		s.startServer(serverSite(n + 1))
	}
	for _, at := range relaysExcept() {
		s.startRelay(at)
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
	s.control = []*flow{
		s.pulse("control", nativeName(1), nativeAddr(1), nativeAddr(2)),
		s.stream("control", upload, nativeName(1), nativeAddr(1), nativeName(2), nativeAddr(2)),
	}
	for i := range clients {
		s.startTraffic(i+1, s.untilQualified(i+1))
	}
	s.untilFlows(s.flows, time.Now())
}

// startTraffic has a client exchange packets with the native hosts: one kind with each, as all packets of a host show the client
// where its relay is.
func (s *service) startTraffic(n int, addr netip.Addr) {
	s.t.Helper()
	host := clientName(n)
	for i, k := range []kind{echoes, upload, download} {
		native := (n+i)%natives + 1
		var f *flow
		if k == echoes {
			f = s.pulse(host, host, addr, nativeAddr(native))
		} else {
			f = s.stream(host, k, host, addr, nativeName(native), nativeAddr(native))
		}
		f.native, f.addr, f.ours = native, addr, n <= ours
		s.flows = append(s.flows, f)
	}
}

// killRelay kills the relay with the most traffic. The kernel takes its route away with it, so BIRD withdraws it at once.
func (s *service) killRelay() error {
	victim := s.busiest()
	o := s.observe(victim)
	s.programs[victim.name].Kill()
	s.untilAnnounced("-6", teredoPrefix, relaysExcept(victim)...)
	s.stalled = time.Since(o.began) // BIRD takes 0.1 s
	err := o.check(killed, false)
	s.startRelay(victim)
	s.untilAnnounced("-6", teredoPrefix, relaysExcept()...)
	return err
}

// drainRelay has the relay with the most traffic leave.
func (s *service) drainRelay() error {
	victim := s.busiest()
	o := s.observe(victim)
	out := s.run(victim.name, lab.Program("relay"), "drain", "--control", s.socket(victim.name))
	if code, err := s.programs[victim.name].Wait(startTimeout); code != 0 || err != nil {
		s.t.Errorf("the drained relay ends with exit code %d, %v; drain has printed %q", code, err, out)
	}
	s.untilAnnounced("-6", teredoPrefix, relaysExcept(victim)...)
	left := o.check(moved, true)
	o = s.observe(victim)
	s.startRelay(victim)
	s.untilAnnounced("-6", teredoPrefix, relaysExcept()...)
	return errors.Join(left, o.check(moved, true))
}

// cutLink has the router lose all packets from and to a relay, so that only BFD finds it out.
func (s *service) cutLink() error {
	victim := s.busiest()
	o := s.observe(victim)
	hook := func(way string) string {
		return fmt.Sprintf("chain %s { type filter hook %s device %q priority -500; drop; }\n", way, way, victim.name)
	}
	s.run(router, "nft", "table netdev cut {\n"+hook("ingress")+hook("egress")+"}")
	s.untilAnnounced("-6", teredoPrefix, relaysExcept(victim)...)
	err := o.check(cut, false)
	s.run(router, "nft", "delete table netdev cut")
	s.untilAnnounced("-6", teredoPrefix, relaysExcept()...)
	return err
}

// flapRoute has the route to a relay that goes on to serve come and go.
func (s *service) flapRoute() error {
	victim := s.busiest()
	o := s.observe(victim)
	for range flaps {
		s.birdc(victim.name, "disable", "router6")
		s.untilAnnounced("-6", teredoPrefix, relaysExcept(victim)...)
		s.untilFlows(s.ourFlows(), time.Now())
		s.birdc(victim.name, "enable", "router6")
		s.untilAnnounced("-6", teredoPrefix, relaysExcept()...)
		s.untilFlows(s.ourFlows(), time.Now())
	}
	return o.check(moved, true)
}

// restartServerSite kills the server of each site in turn. No client notices. One that comes meanwhile is served by the other site.
func (s *service) restartServerSite() (err error) {
	for n := range servers {
		gone, rest := serverSite(n+1), serverSite(servers-n)
		o := s.observe()
		s.programs[gone.name].Kill()
		for _, a := range []string{serverAddr1, serverAddr2} {
			s.untilAnnounced("-4", a, rest)
		}
		s.startClient(latecomer)
		s.untilQualified(latecomer)
		if _, err := s.programs[clientName(latecomer)].Stop(startTimeout); err != nil {
			s.t.Error(err)
		}
		s.startServer(gone)
		for _, a := range []string{serverAddr1, serverAddr2} {
			s.untilAnnounced("-4", a, gone, rest)
		}
		err = errors.Join(err, o.check(moved, true))
	}
	return err
}

// overloadRelay has a host at the site of a relay send to more clients than the relay can look for. Its own clients stay served, and
// native hosts are told of the other relays.
func (s *service) overloadRelay() error {
	victim := s.busiest()
	o := s.observe(victim)
	stop := s.flood(victim)
	s.untilAnnounced("-6", teredoPrefix, relaysExcept(victim)...)
	if status := s.query(victim.name, "relay", "status"); !strings.Contains(status, `"withdrawn_reason": "overload-budgets"`) {
		s.t.Errorf("status of the relay: %s", status)
	}
	err := o.check(moved, true)
	stop()
	// It would not be announced for a minute.
	s.programs[victim.name].Kill()
	s.startRelay(victim)
	s.untilAnnounced("-6", teredoPrefix, relaysExcept()...)
	return err
}
