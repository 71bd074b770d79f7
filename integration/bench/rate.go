//go:build linux

package main

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tolerated = 0.001 // share of datagrams that may be lost
	reached   = 0.95  // least share of a rate that the generator must reach
	startRate = 40_000.0
)

// packetRates finds the loss-free packet rate in each direction, for datagrams that leave one by one: through the tunnel, and
// then over plain IPv4.
func (t *trip) packetRates() error {
	near, far, err := t.sockets(t.address, t.native)
	if err != nil {
		return err
	}
	defer near.close()
	defer far.close()
	plainNear, plainFar, err := t.sockets(t.plain())
	if err != nil {
		return err
	}
	defer plainNear.close()
	defer plainFar.close()
	for _, size := range t.sizes {
		for _, d := range []struct {
			name                         string
			from, to, plainFrom, plainTo *socket
		}{{"up", near, far, plainNear, plainFar}, {"down", far, near, plainFar, plainNear}} {
			rate, err := t.lossFree(d.from, d.to, size)
			if err != nil {
				return err
			}
			plain, err := t.lossFree(d.plainFrom, d.plainTo, size)
			if err != nil {
				return err
			}
			key := fmt.Sprintf("udp %s %d", d.name, size)
			t.add(key, t.who, rate)
			t.ofPlain(key, rate, plain)
			cost, err := t.cost(d.from, d.to, size, clockOf(t.client), clockOf(t.relay))
			if err != nil {
				return err
			}
			plainCost, err := t.cost(d.plainFrom, d.plainTo, size)
			if err != nil {
				return err
			}
			t.add("cost "+key, t.who, cost)
			t.add("plain cost "+key, t.who, plainCost)
		}
	}
	return nil
}

// cost is the processor time of each datagram, in microseconds, at a rate that everybody manages: that of the sender, which pays for
// all that the kernel does while it sends, and what the clocks tell. Unlike the rates it depends little on what else the
// machine does.
func (t *trip) cost(from, to *socket, size int, clocks ...clock) (float64, error) {
	to.drain()
	if err := to.answer(); err != nil {
		return 0, err
	}
	before, err := readAll(clocks)
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start, err := threadTime()
	if err != nil {
		return 0, err
	}
	sent, _, err := from.blast(size, startRate/2, time.Second)
	if err != nil {
		return 0, err
	}
	end, err := threadTime()
	if err != nil {
		return 0, err
	}
	after, err := readAll(clocks)
	if err != nil {
		return 0, err
	}
	total := end - start
	for i := range after {
		total += after[i] - before[i]
	}
	return total.Seconds() * 1e6 / float64(sent), nil
}

// lossFree is the throughput of RFC 2544 §26.1, which RFC 8219 §7.1 takes over: the highest rate at which no more than the
// tolerated share of datagrams is lost. A rate that the generator does not reach, for want of processors, is too high.
func (t *trip) lossFree(from, to *socket, size int) (float64, error) {
	to.drain() // what kept the path valid while it sent
	return highest(startRate, t.step, func(rate float64) (bool, error) {
		loss, managed, err := t.try(from, to, size, rate)
		return loss <= tolerated && managed >= reached*rate, err
	})
}

// try sends at a rate and returns the share that was lost.
func (t *trip) try(from, to *socket, size int, rate float64) (loss, managed float64, err error) {
	if err := to.answer(); err != nil {
		return 0, 0, err
	}
	var stop atomic.Bool
	received := make(chan int)
	go func() { received <- to.count(&stop) }()
	sent, managed, err := from.blast(size, rate, t.trial)
	stop.Store(true)
	return 1 - float64(<-received)/float64(max(sent, 1)), managed, err
}

// answer sends a packet the other way, which keeps the path valid. Over a virtual link the kernel carries nothing more once it
// has heard nothing for two seconds.
func (s *socket) answer() error {
	if _, err := unix.Write(s.fd, []byte{0}); err != nil {
		return fmt.Errorf("send from %v: %w", s.local, err)
	}
	return nil
}
