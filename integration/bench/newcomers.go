//go:build linux

package main

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/integration/population"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	newcomers   = 500
	newcomerGap = 20 * time.Millisecond
	scanRate    = 10_000 // packets a second

	// The clients that are scanned for would be behind this address, one at each port in the upper half.
	scannedAddr  = "203.0.113.7"
	scannedPorts = 1 << 15
)

// welcome measures what a relay with many peers does for clients that it does not know yet.
func (c *crowd) welcome() error {
	progress("  new clients")
	if err := c.keepLive(); err != nil {
		return err
	}
	start := time.Now()
	if _, _, err := c.startClient("client2"); err != nil {
		return err
	}
	if err := lab.Until(patience, "the new client to reach the native host", func() error {
		return c.Host("client2").Ping(c.native, 200*time.Millisecond)
	}); err != nil {
		return err
	}
	c.add("crowd start", ours, time.Since(start).Seconds())

	first, _, err := c.seek(c.clients)
	if err != nil {
		return err
	}
	c.add("newcomers first", ours, first)
	stop := c.scan()
	first, all, err := c.seek(c.clients + newcomers)
	c.add("newcomers scanned first", ours, first)
	c.add("newcomers scanned", ours, all)
	return errors.Join(err, stop(), c.known())
}

// seek has the native host send to new clients at the times at which TCP sends its SYN: at once and 1, 3 and 7 s later. It returns
// the share of clients that have answered the first packet, and of those that have answered any.
func (c *crowd) seek(from int) (first, all float64, err error) {
	schedule := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}
	start := time.Now()
	// due is when the n-th new client gets the packet after so many.
	due := func(n, sent int) time.Time { return start.Add(time.Duration(n)*newcomerGap + schedule[sent]) }
	var sent [newcomers]int
	var answered [newcomers]bool
	end := due(newcomers-1, len(schedule)-1).Add(time.Second)
	for now := start; now.Before(end); now = time.Now() {
		for n := range newcomers {
			if answered[n] || sent[n] == len(schedule) || now.Before(due(n, sent[n])) {
				continue
			}
			sent[n]++
			if err := c.greet(from + n); err != nil {
				return 0, 0, err
			}
		}
		for _, n := range c.echoed(c.in.poll(c.host)) {
			if n -= from; n >= 0 && n < newcomers && !answered[n] {
				answered[n] = true
				all++
				if sent[n] == 1 {
					first++
				}
			}
		}
		nap(time.Millisecond)
	}
	return first / newcomers, all / newcomers, nil
}

// scan has the relay's host send to clients of the server that do not exist, until the function that it returns is called.
func (c *crowd) scan() (stop func() error) {
	absent := make([]netip.AddrPort, scannedPorts)
	for i := range absent {
		mapped := netip.AddrPortFrom(netip.MustParseAddr(scannedAddr), uint16(scannedPorts+i))
		client := teredo.Address{Server: netip.MustParseAddr(lab.ServerAddr), Mapped: mapped}.Addr()
		absent[i] = netip.AddrPortFrom(client, population.DiscardPort)
	}
	var stopped atomic.Bool
	result := make(chan error, 1)
	go func() {
		r, start, sent := newRound(absent, payloadSize), time.Now(), 0
		var err error
		for err == nil && !stopped.Load() {
			if sent > int(time.Since(start).Seconds()*scanRate) {
				nap(time.Millisecond)
				continue
			}
			err = r.send(c.load, burstMost)
			sent += burstMost
		}
		result <- err
	}()
	return func() error {
		stopped.Store(true)
		return <-result
	}
}
