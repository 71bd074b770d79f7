package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/teredo-suite/teredo/integration/lab"
)

// eight is how many peers get a stream each at once.
const eight = 8

// path measures what packets pass through: client and relay.
func (b *bench) path(who implementation) (err error) {
	if !b.wants("rtt") && !b.wants("tcp") && !b.wants("udp") {
		return nil
	}
	s, err := newScene(b.bin, who)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	t, err := b.prepare(s)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		group, what string
		run         func() error
	}{
		{"rtt", "round-trip times", t.roundTrips},
		{"tcp", "TCP with the native host", t.withNative},
		{"tcp", "TCP with other clients", t.withClients},
		{"udp", "packet rates", t.packetRates},
	} {
		if !b.wants(step.group) {
			continue
		}
		progress("  %s", step.what)
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// trip is a scene with all programs that a packet may pass.
type trip struct {
	*bench
	*scene
	client, relay *lab.Process
	address       netip.Addr // of client1
	peer          netip.Addr // client2
	peers         []netip.Addr
}

// prepare starts everything and finds all paths.
func (b *bench) prepare(s *scene) (*trip, error) {
	t := &trip{bench: b, scene: s}
	if _, err := s.startServer(); err != nil {
		return nil, err
	}
	var err error
	if t.relay, err = s.startRelay(); err != nil {
		return nil, err
	}
	if t.client, t.address, err = s.startClient("client1"); err != nil {
		return nil, err
	}
	if _, t.peer, err = s.startClient("client2"); err != nil {
		return nil, err
	}
	if err := t.addPeers(); err != nil {
		return nil, err
	}
	for _, host := range []string{"native", "client2"} {
		if err := s.listen(host); err != nil {
			return nil, err
		}
	}
	for _, to := range append([]netip.Addr{s.native, t.peer}, t.peers...) {
		if err := s.reach("client1", to); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// addPeers puts eight more clients behind the NAT of client2.
func (t *trip) addPeers() error {
	for n := range eight {
		host := fmt.Sprintf("peer%d", n+1)
		subnet := 11 + n
		_, err := t.AddHost("nat2", host, fmt.Sprintf("192.168.%d.1/24", subnet), fmt.Sprintf("192.168.%d.2/24", subnet))
		if err != nil {
			return err
		}
		_, addr, err := t.startClient(host)
		if err != nil {
			return err
		}
		t.peers = append(t.peers, addr)
		if err := t.listen(host); err != nil {
			return err
		}
	}
	return nil
}

// withNative measures one TCP stream in each direction, and what client and relay need for it.
func (t *trip) withNative() error {
	for _, d := range []struct {
		name    string
		reverse bool
	}{{"up", false}, {"down", true}} {
		bytes, rate, used, err := t.billed(t.plan.transfer, bulk{"client1", t.native, d.reverse}, t.client, t.relay)
		if err != nil {
			return err
		}
		t.add("tcp "+d.name, t.who, rate/1e9)
		t.add("cpu client "+d.name, t.who, used[0].Seconds()/(bytes/1e9))
		t.add("cpu relay "+d.name, t.who, used[1].Seconds()/(bytes/1e9))
	}
	return nil
}

// withClients measures TCP streams that pass no relay.
func (t *trip) withClients() error {
	_, rate, err := t.scene.transfer(t.plan.transfer, bulk{"client1", t.peer, false})
	if err != nil {
		return err
	}
	t.add("tcp direct", t.who, rate/1e9)
	var streams []bulk
	for _, p := range t.peers {
		streams = append(streams, bulk{"client1", p, false})
	}
	if _, rate, err = t.scene.transfer(t.plan.transfer, streams...); err != nil {
		return err
	}
	t.add("tcp eight", t.who, rate/1e9)
	return nil
}
