//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pingSize = 64
	pingGap  = time.Millisecond
	echoPort = 7
)

// roundTrips measures how much longer a packet to the native host and back takes than over plain IPv4, while nothing
// else happens. All implementations run at the same time and are asked in turns, so that all see the same machine.
func (b *bench) roundTrips() (err error) {
	if !b.wants("rtt") {
		return nil
	}
	progress("round-trip times")
	var lanes []*lane
	defer func() {
		for _, l := range lanes {
			err = errors.Join(err, l.close())
		}
	}()
	for _, who := range implementations {
		l, err := b.openLane(who)
		if err != nil {
			return fmt.Errorf("prepare %s: %w", who, err)
		}
		lanes = append(lanes, l)
	}
	for range b.rounds {
		if err := b.pingInTurns(lanes); err != nil {
			return err
		}
	}
	return nil
}

// lane is a lab of one implementation, with two ways between client1 and the native host.
type lane struct {
	*trip
	tunnelled, plain *way
}

func (b *bench) openLane(who implementation) (l *lane, err error) {
	s, err := newScene(b.bin, who)
	if err != nil {
		return nil, err
	}
	l = &lane{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	l.trip = &trip{bench: b, scene: s}
	if err := l.connect(); err != nil {
		return l, err
	}
	if err := l.addIPv4(); err != nil {
		return l, err
	}
	if l.tunnelled, err = l.open(netip.AddrPortFrom(l.address, 0), netip.AddrPortFrom(l.native, echoPort)); err != nil {
		return l, err
	}
	anyIPv4, echoIPv4 := netip.AddrPortFrom(netip.IPv4Unspecified(), 0), netip.AddrPortFrom(netip.MustParseAddr(nativeIPv4), echoPort)
	l.plain, err = l.open(anyIPv4, echoIPv4)
	return l, err
}

// close closes what has been opened of it.
func (l *lane) close() error {
	var errs []error
	for _, w := range []*way{l.tunnelled, l.plain} {
		if w != nil {
			errs = append(errs, w.close())
		}
	}
	return errors.Join(append(errs, l.scene.Close())...)
}

// pingInTurns pings along all ways, one after the other and again, and adds what each implementation takes longer than
// plain IPv4 in its lab.
func (b *bench) pingInTurns(lanes []*lane) error {
	const warmUp = 20
	for n := range warmUp + b.pings {
		for _, l := range lanes {
			for _, w := range []*way{l.tunnelled, l.plain} {
				if n == warmUp {
					w.times = w.times[:0]
				}
				if err := w.ping(); err != nil {
					return err
				}
				nap(pingGap)
			}
		}
	}
	for _, l := range lanes {
		for _, w := range []*way{l.tunnelled, l.plain} {
			if len(w.times) < b.pings*9/10 {
				return fmt.Errorf("%s: only %d of %d pings to %v were answered", l.who, len(w.times), b.pings, w.far.local)
			}
			slices.Sort(w.times)
		}
		base := percentile(l.plain.times, 50)
		b.add("rtt plain", l.who, base)
		b.add("rtt median", l.who, percentile(l.tunnelled.times, 50)-base)
		b.add("rtt p99", l.who, percentile(l.tunnelled.times, 99)-base)
	}
	return nil
}

// percentile returns the value that p percent of the sorted ones are not above.
func percentile(sorted sample, p int) float64 {
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

// way is a pair of sockets, the far one of which sends back what it gets.
type way struct {
	near, far *socket
	stop      atomic.Bool
	echo      sync.WaitGroup
	number    uint64 // of the latest ping
	times     sample // of the pings, in microseconds
}

// open makes a way from client1 to the native host.
func (t *trip) open(local, remote netip.AddrPort) (w *way, err error) {
	w = &way{}
	if w.near, err = openSocket(t.Host("client1"), local); err != nil {
		return nil, err
	}
	if err := w.near.connect(remote); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %v: %w", remote, err), w.near.close())
	}
	if w.far, err = openSocket(t.Host("native"), remote); err != nil {
		return nil, errors.Join(err, w.near.close())
	}
	w.echo.Go(func() { w.far.echo(&w.stop) })
	return w, nil
}

func (w *way) close() error {
	w.stop.Store(true)
	w.echo.Wait()
	return errors.Join(w.near.close(), w.far.close())
}

// ping sends one datagram and notes how long it took to come back, unless it was lost. A datagram that comes back later, when
// it counts as lost, is not taken for the next one.
func (w *way) ping() error {
	w.number++
	var b [pingSize]byte
	binary.NativeEndian.PutUint64(b[:], w.number)
	sent := time.Now()
	if _, err := unix.Write(w.near.fd, b[:]); err != nil {
		return fmt.Errorf("ping from %v: %w", w.near.local, err)
	}
	for {
		_, err := unix.Read(w.near.fd, b[:])
		switch {
		case errors.Is(err, unix.EINTR): // the runtime's signals
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return fmt.Errorf("ping from %v: %w", w.near.local, err)
		case binary.NativeEndian.Uint64(b[:]) == w.number:
			w.times = append(w.times, float64(time.Since(sent))/float64(time.Microsecond))
			return nil
		}
	}
}

// echo sends back what comes until stop is set.
func (s *socket) echo(stop *atomic.Bool) {
	var b [2048]byte
	for !stop.Load() {
		n, from, err := unix.Recvfrom(s.fd, b[:], 0)
		if err == nil {
			// One that cannot be sent counts as lost.
			_ = unix.Sendto(s.fd, b[:n], 0, from)
		}
	}
}
