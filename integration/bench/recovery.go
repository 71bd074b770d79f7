//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	pulseGap   = 100 * time.Millisecond // between pings of a path that is to come back
	startGap   = 10 * time.Millisecond  // between pings of a client that starts
	gone       = time.Second            // between a kill and the next start
	returnTime = 5 * time.Minute        // for what must come back
	streamTime = 30 * time.Second       // for TCP, which asks more and more rarely
)

// recovery measures how long a client takes from its start to the first answer, and how soon there is traffic again when
// a program has come back. What takes long is waiting, so the restarts are measured all at once.
func (b *bench) recovery() error {
	if !b.wants("recovery") {
		return nil
	}
	restarts := map[string]func(*trip) error{"relay": (*trip).relayReturns, "client": (*trip).clientReturns}
	for _, outage := range b.outages {
		restarts[fmt.Sprintf("server after %v", outage)] = func(t *trip) error { return t.serverReturns(outage) }
	}
	for round := range b.rounds {
		progress("starts and returns, round %d of %d", round+1, b.rounds)
		both := []implementation{ours, miredo}
		for _, who := range both {
			for key, single := range map[string]bool{"start one": true, "start two": false} {
				if err := b.started(key, who, single); err != nil {
					return fmt.Errorf("%s, %s: %w", who, key, err)
				}
			}
		}
		var group errgroup.Group
		for _, who := range both {
			for what, restart := range restarts {
				group.Go(func() error {
					if err := b.restarted(who, restart); err != nil {
						return fmt.Errorf("%s, restart of the %s: %w", who, what, err)
					}
					return nil
				})
			}
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// started measures the start of a client whose gateway does not answer when it is asked for a port mapping.
func (b *bench) started(key string, who implementation, single bool) (err error) {
	s, err := newScene(b.bin, who)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	s.single = single
	if single {
		if _, err := s.Host("server").Run(patience, "ip", "address", "delete", lab.ServerAddr2+"/24", "dev", "uplink"); err != nil {
			return err
		}
	}
	if _, err := s.Host("nat1").Run(patience, "nft", "table ip silent { chain input { "+
		"type filter hook input priority filter; iifname client1 meta l4proto { tcp, udp } drop; }; }"); err != nil {
		return err
	}
	if _, err := s.startServer(); err != nil {
		return err
	}
	if _, err := s.startRelay(); err != nil {
		return err
	}
	argv, err := s.clientCommand("client1")
	if err != nil {
		return err
	}
	p, err := s.openPulse("native", s.native, startGap)
	if err != nil {
		return err
	}
	defer p.close()
	seconds, err := p.after(returnTime, func() error {
		_, err := s.Host("client1").Start(argv...)
		return err
	})
	if err == nil {
		b.add(key, who, seconds)
	}
	return err
}

// restarted measures a restart in a lab of its own, where the path between client1 and the native host is known.
func (b *bench) restarted(who implementation, restart func(*trip) error) (err error) {
	s, err := newScene(b.bin, who)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	t := &trip{bench: b, scene: s}
	if err := t.connect(); err != nil {
		return err
	}
	return restart(t)
}

// serverReturns takes the server away, and brings it back.
func (t *trip) serverReturns(outage time.Duration) error {
	live, err := t.openPulse("native", t.native, pulseGap)
	if err != nil {
		return err
	}
	defer live.close()
	const router, fresh = "2001:db8:7::ff/64", "2001:db8:7::1/64"
	if _, err := t.AddHost("inet", "fresh", router, fresh); err != nil {
		return err
	}
	t.server.Kill()
	sent, answered := live.sent.Load(), live.answered.Load()
	time.Sleep(outage)
	sent, answered = live.sent.Load()-sent, live.answered.Load()-answered
	t.add(fmt.Sprintf("server live %g", outage.Seconds()), t.who, min(1, float64(answered)/float64(sent)))

	back := time.Now()
	if _, err := t.startServer(); err != nil {
		return err
	}
	// Not before the server listens: the first ping is to find it.
	p, err := t.openPulse("fresh", netip.MustParsePrefix(fresh).Addr(), pulseGap)
	if err != nil {
		return err
	}
	defer p.close()
	listens := time.Since(back).Seconds()
	seconds, err := p.after(returnTime, func() error { return nil })
	if err == nil {
		t.add(fmt.Sprintf("server return %g", outage.Seconds()), t.who, listens+seconds)
	}
	return err
}

// relayReturns kills the relay, and starts it again.
func (t *trip) relayReturns() error {
	p, err := t.openPulse("native", t.native, pulseGap)
	if err != nil {
		return err
	}
	defer p.close()
	t.relay.Kill()
	time.Sleep(gone)
	seconds, err := p.after(returnTime, func() error {
		_, err := t.startRelay()
		return err
	})
	if err == nil {
		t.add("relay return", t.who, seconds)
	}
	return err
}

// clientReturns kills the client, and starts it again, while the native host sends to it over TCP.
func (t *trip) clientReturns() error {
	s, err := t.openStream()
	if err != nil {
		return err
	}
	defer s.close()
	argv, err := t.clientCommand("client1")
	if err != nil {
		return err
	}
	t.client.Kill()
	time.Sleep(gone)
	seconds, err := s.after(streamTime, func() error {
		_, err := t.Host("client1").Start(argv...)
		return err
	})
	switch {
	case errors.Is(err, errSilent):
		t.add("client goes on", t.who, 0)
		return nil
	case err == nil:
		t.add("client goes on", t.who, 1)
		t.add("client return", t.who, seconds)
	}
	return err
}

// errSilent means that nothing has come in time.
var errSilent = errors.New("nothing came back")

// arrivals tells when something has arrived.
type arrivals struct {
	seen chan time.Time // the first one that nobody has looked at
}

func newArrivals() arrivals { return arrivals{make(chan time.Time, 1)} }

func (a arrivals) note() {
	select {
	case a.seen <- time.Now():
	default:
	}
}

// after is how many seconds the next arrival is after the begin of an event.
func (a arrivals) after(limit time.Duration, event func() error) (seconds float64, err error) {
	select {
	case <-a.seen:
	default:
	}
	began := time.Now()
	if err := event(); err != nil {
		return 0, err
	}
	select {
	case at := <-a.seen:
		return at.Sub(began).Seconds(), nil
	case <-time.After(limit):
		return 0, fmt.Errorf("%w within %v", errSilent, limit)
	}
}

// pulse sends a datagram from client1 to a host that sends it back, again and again.
type pulse struct {
	arrivals
	near, far      net.PacketConn
	stop           chan struct{}
	running        sync.WaitGroup
	sent, answered atomic.Int64
}

func (s *scene) openPulse(host string, addr netip.Addr, gap time.Duration) (p *pulse, err error) {
	p = &pulse{arrivals: newArrivals(), stop: make(chan struct{})}
	if p.far, err = s.Host(host).ListenPacket(netip.AddrPortFrom(addr, 0).String()); err != nil {
		return nil, err
	}
	if p.near, err = s.Host("client1").ListenPacket("[::]:0"); err != nil {
		return nil, errors.Join(err, p.far.Close())
	}
	// Each ends with the socket that it reads.
	p.running.Go(func() { p.receive(p.far, func(b []byte, from net.Addr) { _, _ = p.far.WriteTo(b, from) }) })
	p.running.Go(func() { p.receive(p.near, func([]byte, net.Addr) { p.answered.Add(1); p.note() }) })
	p.running.Go(func() { p.send(gap) })
	return p, nil
}

// send sends until the pulse is closed. What cannot be sent, as there is no route yet, is one without an answer.
func (p *pulse) send(gap time.Duration) {
	tick := time.NewTicker(gap)
	defer tick.Stop()
	for {
		_, _ = p.near.WriteTo(make([]byte, pingSize), p.far.LocalAddr())
		p.sent.Add(1)
		select {
		case <-tick.C:
		case <-p.stop:
			return
		}
	}
}

// receive calls f for each datagram until the socket is closed.
func (p *pulse) receive(c net.PacketConn, f func(b []byte, from net.Addr)) {
	b := make([]byte, pingSize)
	for {
		n, from, err := c.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // else the kernel tells of one that was not delivered
			f(b[:n], from)
		}
	}
}

func (p *pulse) close() {
	close(p.stop)
	p.near.Close()
	p.far.Close()
	p.running.Wait()
}

// stream is a TCP connection on which the native host sends a byte to client1 now and then.
type stream struct {
	arrivals
	near, far net.Conn
	stop      chan struct{}
	running   sync.WaitGroup
}

func (t *trip) openStream() (s *stream, err error) {
	listener, err := t.Host("client1").Listen(netip.AddrPortFrom(t.address, 0).String())
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s = &stream{arrivals: newArrivals(), stop: make(chan struct{})}
	if s.far, err = t.Host("native").Dial(ctx, listener.Addr().String()); err != nil {
		return nil, err
	}
	if s.near, err = listener.Accept(); err != nil {
		return nil, errors.Join(err, s.far.Close())
	}
	s.running.Go(s.send)
	s.running.Go(func() {
		for b := make([]byte, 1); ; s.note() {
			if _, err := s.near.Read(b); err != nil { // closed, or given up
				return
			}
		}
	})
	return s, nil
}

func (s *stream) send() {
	tick := time.NewTicker(pulseGap)
	defer tick.Stop()
	for {
		if _, err := s.far.Write([]byte{1}); err != nil { // given up
			return
		}
		select {
		case <-tick.C:
		case <-s.stop:
			return
		}
	}
}

func (s *stream) close() {
	close(s.stop)
	s.near.Close()
	s.far.Close()
	s.running.Wait()
}
