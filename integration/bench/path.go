//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"github.com/teredo-suite/teredo/integration/lab"
)

// eight is how many peers get a stream each at once.
const eight = 8

// path measures what packets pass through: client and relay.
func (b *bench) path(who implementation) (err error) {
	if !b.wants("tcp") && !b.wants("udp") {
		return nil
	}
	s, err := newScene(b.bin, who)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	t := &trip{bench: b, scene: s}
	if err := t.prepare(); err != nil {
		return err
	}
	for _, step := range []struct {
		group, what string
		run         func() error
	}{
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
	client, relay, server *lab.Process

	address netip.Addr // of client1
	peer    netip.Addr // client2
	peers   []netip.Addr
}

// connect starts server, relay and client1, and finds the path to the native host.
func (t *trip) connect() (err error) {
	if t.server, err = t.startServer(); err != nil {
		return err
	}
	if t.relay, err = t.startRelay(); err != nil {
		return err
	}
	if t.client, t.address, err = t.startClient("client1"); err != nil {
		return err
	}
	return t.reach("client1", t.native)
}

// prepare starts everything and finds all paths.
func (t *trip) prepare() (err error) {
	if err := errors.Join(t.connect(), t.addIPv4()); err != nil {
		return err
	}
	if _, t.peer, err = t.startClient("client2"); err != nil {
		return err
	}
	if err := t.addPeers(); err != nil {
		return err
	}
	for _, host := range []string{"native", "client2"} {
		if err := t.listen(host); err != nil {
			return err
		}
	}
	for _, to := range append([]netip.Addr{t.peer}, t.peers...) {
		if err := t.reach("client1", to); err != nil {
			return err
		}
	}
	return nil
}

// addPeers puts eight more clients behind the NAT of client2.
func (t *trip) addPeers() error {
	for n := range eight {
		subnet := 11 + n
		_, err := t.AddHost("nat2", peerName(n), fmt.Sprintf("192.168.%d.1/24", subnet), fmt.Sprintf("192.168.%d.2/24", subnet))
		if err != nil {
			return err
		}
	}
	t.peers = make([]netip.Addr, eight)
	var group errgroup.Group
	for n := range eight {
		group.Go(func() (err error) {
			if _, t.peers[n], err = t.startClient(peerName(n)); err != nil {
				return err
			}
			return t.listen(peerName(n))
		})
	}
	return group.Wait()
}

func peerName(n int) string { return fmt.Sprintf("peer%d", n+1) }

// withNative measures one TCP stream in each direction, and what it needs of the machine, of the client and of the relay. The same
// over plain IPv4 follows, while the programs are idle.
func (t *trip) withNative() error {
	_, plain := t.plain()
	for _, reverse := range []bool{false, true} {
		stream := bulk{"client1", t.native, reverse}
		rate, perGB, err := t.billed(t.plan.transfer, stream, machineTime, clockOf(t.client), clockOf(t.relay))
		if err != nil {
			return err
		}
		direction := stream.direction()
		t.add("tcp "+direction, t.who, rate/1e9)
		t.add("machine "+direction, t.who, perGB[0])
		if t.who != ours { // packets that the kernel carries are on no program's bill
			t.add("cpu client "+direction, t.who, perGB[1])
			t.add("cpu relay "+direction, t.who, perGB[2])
		}
		stream.to = plain
		plainRate, perGB, err := t.billed(t.plan.transfer, stream, machineTime)
		if err != nil {
			return err
		}
		t.ofPlain("tcp "+direction, rate/1e9, plainRate/1e9)
		t.add("plain machine "+direction, t.who, perGB[0])
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
