//go:build linux

package many

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	pace     = 50 * time.Millisecond // between the packets of a flow
	chunk    = 32 << 10              // bytes of TCP at that pace
	lateness = 10 * time.Second      // after which what has not arrived is lost
)

// kind is a kind of traffic.
type kind string

const (
	echoes   kind = "UDP echoes"
	upload   kind = "TCP to a native host"
	download kind = "TCP from a native host"
)

// flow is traffic that goes on for as long as the test, and what has become of it.
type flow struct {
	kind   kind
	name   string
	native int
	addr   netip.Addr // of the client
	ours   bool       // the client is

	mu   sync.Mutex
	sent []time.Time  // of echoes, by number
	came map[int]bool // of echoes, by number
	all  []time.Time  // arrivals, in their order
}

func (f *flow) String() string { return fmt.Sprintf("%s, %s", f.name, f.kind) }

func (f *flow) noteSent() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, time.Now())
	return len(f.sent) - 1
}

func (f *flow) noteCame(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, time.Now())
	f.came[n] = true
}

// last is when something came last.
func (f *flow) last() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) == 0 {
		return time.Time{}
	}
	return f.all[len(f.all)-1]
}

// gap is the longest time without an arrival, of all that have ended after a moment.
func (f *flow) gap(since time.Time) (longest time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := time.Now()
	for _, at := range slices.Backward(f.all) {
		longest = max(longest, end.Sub(at))
		if end = at; at.Before(since) {
			break
		}
	}
	return longest
}

// lost is how many of the packets sent from one moment to another have not come.
func (f *flow) lost(since, until time.Time) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, at := range f.sent {
		if !f.came[i] && at.After(since) && at.Before(until) {
			n++
		}
	}
	return n
}

// echo answers UDP datagrams on a native host.
func (s *service) echo(host string, addr netip.Addr) {
	s.t.Helper()
	c, err := s.Host(host).ListenPacket(netip.AddrPortFrom(addr, 7).String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
}

// pulse sends numbered datagrams to a host that echoes them.
func (s *service) pulse(name, host string, from, to netip.Addr) *flow {
	s.t.Helper()
	c, err := s.Host(host).ListenPacket(netip.AddrPortFrom(from, 0).String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	f := &flow{kind: echoes, name: name, came: make(map[int]bool)}
	remote := net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 7))
	go func() {
		for range time.Tick(pace) {
			b := binary.BigEndian.AppendUint32(make([]byte, 0, 64), uint32(f.noteSent()))
			if _, err := c.WriteTo(b[:64], remote); err != nil && isClosed(c) {
				return
			}
		}
	}()
	go func() {
		b := make([]byte, 2048)
		for {
			n, _, err := c.ReadFrom(b)
			switch {
			case err == nil && n == 64:
				f.noteCame(int(binary.BigEndian.Uint32(b)))
			case isClosed(c):
				return
			}
		}
	}()
	return f
}

// isClosed reports whether the test has closed a socket. All other errors are those of a network that is being broken.
func isClosed(c net.PacketConn) bool { return c.SetDeadline(time.Time{}) != nil }

// stream has two hosts exchange data one way over one TCP connection, which the first one opens.
func (s *service) stream(name string, k kind, client string, from netip.Addr, server string, to netip.Addr) *flow {
	s.t.Helper()
	l, err := s.Host(server).Listen(netip.AddrPortFrom(to, 0).String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), startTimeout)
	defer cancel()
	out, err := s.Host(client).Dial(ctx, l.Addr().String())
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	in, err := l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	if k == download {
		out, in = in, out
	}
	s.t.Cleanup(func() { out.Close(); in.Close() })
	f := &flow{kind: k, name: name, came: make(map[int]bool)}
	go func() {
		b := make([]byte, chunk)
		for range time.Tick(pace) {
			if _, err := out.Write(b); err != nil {
				return
			}
		}
	}()
	go func() {
		b := make([]byte, chunk)
		for n := 0; ; n++ {
			if _, err := io.ReadAtLeast(in, b, 1); err != nil {
				return
			}
			f.noteCame(n)
		}
	}()
	return f
}

// ourFlows are those of our clients. Miredo sends by a relay that has gone for as long as half a minute.
func (s *service) ourFlows() []*flow {
	return slices.DeleteFunc(slices.Clone(s.flows), func(f *flow) bool { return !f.ours })
}

// untilFlows waits until something has come on each flow since a moment.
func (s *service) untilFlows(flows []*flow, since time.Time) {
	s.t.Helper()
	for _, f := range flows {
		s.until("traffic of "+f.String(), func() error {
			if last := f.last(); !last.After(since) {
				return fmt.Errorf("the last came %v ago", time.Since(last).Round(time.Millisecond))
			}
			return nil
		})
	}
}
