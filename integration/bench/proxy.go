//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	idleConnections = 1000
	dialers         = 32 // that open connections at the same time
	greeted         = 200
	socksPort       = 1080
	iperfPort       = 5201
	greeterPort     = 9000
)

// proxies measures teredo-client proxy beside Miredo's client, which has an interface and needs root for it.
func (b *bench) proxies() error {
	if !b.wants("proxy") {
		return nil
	}
	for round := range b.rounds {
		progress("round %d of %d: proxy", round+1, b.rounds)
		if err := errors.Join(b.proxy(), b.besideProxy()); err != nil {
			return err
		}
	}
	return nil
}

// besideProxy measures TCP of Miredo.
func (b *bench) besideProxy() (err error) {
	s, err := newScene(b.bin, miredo)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	t := &trip{bench: b, scene: s}
	if err := errors.Join(t.connect(), t.listen("native")); err != nil {
		return err
	}
	return t.through(t.native)
}

// through measures TCP with an address that leads to the native host.
func (t *trip) through(to netip.Addr) error {
	for _, stream := range []bulk{{"client1", to, false}, {"client1", to, true}} {
		_, rate, err := t.transfer(t.plan.transfer, stream)
		if err != nil {
			return err
		}
		t.add("proxy tcp "+stream.direction(), t.who, rate/1e9)
	}
	return nil
}

// proxy measures a proxy on client1, and a client with an interface on client2.
func (b *bench) proxy() (err error) {
	s, err := newScene(b.bin, ours)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p := &proxied{trip: &trip{bench: b, scene: s}}
	if err := p.start(); err != nil {
		return err
	}
	defer p.greeter.Close()
	for _, step := range []func() error{
		p.memory, p.firstByte, func() error { return p.through(netip.MustParseAddr("127.0.0.1")) }, p.connections,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// proxied is a scene with a proxy, and a native host that greets who connects.
type proxied struct {
	*trip
	proxy   *lab.Process
	greeter net.Listener
}

func (p *proxied) start() (err error) {
	if p.server, err = p.startServer(); err != nil {
		return err
	}
	if p.relay, err = p.startRelay(); err != nil {
		return err
	}
	if _, _, err = p.startClient("client2"); err != nil {
		return err
	}
	if err := errors.Join(p.reach("client2", p.native), p.listen("native")); err != nil {
		return err
	}
	if p.greeter, err = p.Host("native").Listen(p.remote().String()); err != nil {
		return err
	}
	go greet(p.greeter)
	argv := []string{filepath.Join(p.bench.bin, "teredo-client"), "proxy", "--permit-ipv4", permitted, "--permit-ipv6", "2001:db8::/32",
		"--control", p.control("client1"), "--server", lab.ServerAddr, "--socks", fmt.Sprintf("127.0.0.1:%d", socksPort),
		"--forward", fmt.Sprintf("127.0.0.1:%d=[%v]:%d", iperfPort, p.native, iperfPort)}
	p.proxy, err = p.scene.start("client1", argv, "the proxy to reach the native host", func() error {
		c, err := p.dial()
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return err
}

// remote is where the native host greets.
func (p *proxied) remote() netip.AddrPort { return netip.AddrPortFrom(p.native, greeterPort) }

// greet sends each connection one byte.
func greet(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = c.Write([]byte{1})
			_, _ = io.Copy(io.Discard, c) // until the other end closes
		}()
	}
}

// dial connects to the greeter over SOCKS, on client1.
func (p *proxied) dial() (c net.Conn, err error) {
	err = p.Host("client1").Do(func() (err error) {
		c, err = socks(p.remote())
		return err
	})
	return c, err
}

// socks connects over SOCKS5 without authentication (RFC 1928) and reads the first byte. It stays on its thread.
func socks(to netip.AddrPort) (net.Conn, error) {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", socksPort))
	if err != nil {
		return nil, err
	}
	const version, connect, ipv6, succeeded = 5, 1, 4, 0
	addr := to.Addr().As16()
	request := slices.Concat([]byte{version, 1, 0, version, connect, 0, ipv6}, addr[:])
	_, err = c.Write(binary.BigEndian.AppendUint16(request, to.Port()))
	answer := make([]byte, 2+4)
	if err == nil {
		_, err = io.ReadFull(c, answer)
	}
	if err == nil && answer[3] != succeeded {
		err = fmt.Errorf("SOCKS refuses with code %d", answer[3])
	}
	rest := 4 + 2 + 1 // address, port, and the greeting
	if answer[5] == ipv6 {
		rest += 12
	}
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, rest))
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// memory measures the proxy when it is idle, and with many idle connections.
func (p *proxied) memory() error {
	before, err := resident(p.proxy)
	if err != nil {
		return err
	}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for range idleConnections {
		c, err := p.dial()
		if err != nil {
			return err
		}
		open = append(open, c)
	}
	after, err := resident(p.proxy)
	if err != nil {
		return err
	}
	p.add("proxy memory", ours, float64(before)/(1<<20))
	p.add("proxy memory each", ours, float64(after-before)/idleConnections/(1<<10))
	return nil
}

// firstByte measures how long a connection takes until its first byte, in turns over SOCKS and through an interface.
func (p *proxied) firstByte() error {
	var proxy, plain sample
	direct := func() (c net.Conn, err error) {
		if c, err = p.Host("client2").Dial(context.Background(), p.remote().String()); err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		return c, err
	}
	for range greeted {
		for _, way := range []struct {
			dial  func() (net.Conn, error)
			times *sample
		}{{p.dial, &proxy}, {direct, &plain}} {
			began := time.Now()
			c, err := way.dial()
			if err != nil {
				return err
			}
			*way.times = append(*way.times, float64(time.Since(began))/float64(time.Millisecond))
			if err := c.Close(); err != nil {
				return err
			}
		}
	}
	slices.Sort(proxy)
	slices.Sort(plain)
	p.add("proxy first byte", ours, percentile(proxy, 50)-percentile(plain, 50))
	return nil
}

// connections counts how many connections some dialers open, use and close.
func (p *proxied) connections() error {
	var count atomic.Int64
	var all sync.WaitGroup
	failures := make(chan error, dialers)
	began := time.Now()
	for range dialers {
		all.Go(func() {
			failures <- p.Host("client1").Do(func() error {
				for time.Since(began) < p.plan.transfer {
					c, err := socks(p.remote())
					if err != nil {
						return err
					}
					if err := c.Close(); err != nil {
						return err
					}
					count.Add(1)
				}
				return nil
			})
		})
	}
	all.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			return err
		}
	}
	p.add("proxy connections", ours, float64(count.Load())/time.Since(began).Seconds())
	return nil
}
