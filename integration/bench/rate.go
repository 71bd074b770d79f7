package main

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	tolerated = 0.001 // share of datagrams that may be lost
	startRate = 20_000.0
	settle    = 100 * time.Millisecond // for what is still under way when the sender has finished
)

// sizes are the UDP payloads of packet rates. The largest fills the MTU of 1280 bytes.
var sizes = []int{64, 512, 1232}

// packetRates finds the loss-free packet rate in each direction, for datagrams that leave one by one.
func (t *trip) packetRates() error {
	near, err := openSocket(t.Host("client1"), netip.AddrPortFrom(t.address, 0))
	if err != nil {
		return err
	}
	defer near.close()
	far, err := openSocket(t.Host("native"), netip.AddrPortFrom(t.native, 0))
	if err != nil {
		return err
	}
	defer far.close()
	if err := near.connect(far.local); err != nil {
		return err
	}
	if err := far.connect(near.local); err != nil {
		return err
	}
	for _, size := range sizes {
		for _, d := range []struct {
			name     string
			from, to *socket
		}{{"up", near, far}, {"down", far, near}} {
			rate, err := t.lossFree(d.from, d.to, size)
			if err != nil {
				return err
			}
			t.add(fmt.Sprintf("udp %s %d", d.name, size), t.who, rate)
		}
	}
	return nil
}

// lossFree is the throughput of RFC 2544 §26.1, which RFC 8219 §7.1 takes over, by binary search: the highest rate at
// which no more than the tolerated share of datagrams is lost. A rate gets a second chance, because the generator shares
// the processors with what it measures.
func (t *trip) lossFree(from, to *socket, size int) (float64, error) {
	low, high := 0.0, 0.0
	rate := startRate
	for {
		passed, managed, err := t.passes(from, to, size, rate)
		if err != nil {
			return 0, err
		}
		switch {
		case passed && managed < 0.95*rate:
			return managed, nil // the generator's limit
		case passed:
			low = rate
		default:
			high = rate
		}
		switch {
		case high == 0:
			rate = 2 * low
		case high/max(low, 1) < t.step || high < 100:
			return low, nil
		default:
			rate = (low + high) / 2
		}
	}
}

func (t *trip) passes(from, to *socket, size int, rate float64) (passed bool, managed float64, err error) {
	for range 2 {
		loss, managed, err := t.try(from, to, size, rate)
		if err != nil || loss <= tolerated {
			return err == nil, managed, err
		}
	}
	return false, 0, nil
}

// try sends at a rate and returns the share that was lost.
func (t *trip) try(from, to *socket, size int, rate float64) (loss, managed float64, err error) {
	// A packet the other way keeps the path valid.
	if _, _, err := to.blast(1, 1000, time.Millisecond); err != nil {
		return 0, 0, err
	}
	time.Sleep(settle)
	var received atomic.Int64
	var stop atomic.Bool
	var receiver sync.WaitGroup
	receiver.Go(func() { to.count(&received, &stop) })
	sent, managed, err := from.blast(size, rate, t.trial)
	for before := int64(-1); before != received.Load(); {
		before = received.Load()
		time.Sleep(settle)
	}
	stop.Store(true)
	receiver.Wait()
	return 1 - float64(received.Load())/float64(max(sent, 1)), managed, err
}
