package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The native host gets IPv4 too, so that plain IPv4 takes the same way through the NAT.
const (
	nativeIPv4  = "100.64.1.2"
	nativeLink  = nativeIPv4 + "/30"
	nativeRoute = "100.64.1.1"
)

const (
	pingSize = 64
	pingGap  = time.Millisecond
)

// roundTrips measures how much longer a packet to the native host and back takes than over plain IPv4, while nothing
// else happens.
func (t *trip) roundTrips() error {
	if err := t.addIPv4(); err != nil {
		return err
	}
	plain, err := t.pingPong(netip.AddrPortFrom(netip.IPv4Unspecified(), 0), netip.AddrPortFrom(netip.MustParseAddr(nativeIPv4), 7))
	if err != nil {
		return err
	}
	tunnelled, err := t.pingPong(netip.AddrPortFrom(t.address, 0), netip.AddrPortFrom(t.native, 7))
	if err != nil {
		return err
	}
	base := percentile(plain, 50)
	micros := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	t.add("rtt plain", t.who, micros(base))
	t.add("rtt median", t.who, micros(percentile(tunnelled, 50)-base))
	t.add("rtt p99", t.who, micros(percentile(tunnelled, 99)-base))
	return nil
}

func (t *trip) addIPv4() error {
	for _, c := range []struct{ host, command string }{
		{"inet", "ip address add " + nativeRoute + "/30 dev native"},
		{"native", "ip address add " + nativeLink + " dev uplink"},
		{"native", "ip route add default via " + nativeRoute},
	} {
		if _, err := t.Host(c.host).Run(patience, "sh", "-c", c.command); err != nil {
			return err
		}
	}
	return nil
}

// pingPong sends datagrams from client1 to a socket of the native host that sends each back, and returns the times.
func (t *trip) pingPong(local, remote netip.AddrPort) (times []time.Duration, err error) {
	near, err := openSocket(t.Host("client1"), local)
	if err != nil {
		return nil, err
	}
	defer near.close()
	far, err := openSocket(t.Host("native"), remote)
	if err != nil {
		return nil, err
	}
	defer far.close()
	if err := near.connect(remote); err != nil {
		return nil, err
	}
	var stop atomic.Bool
	var echoes sync.WaitGroup
	defer echoes.Wait()
	defer stop.Store(true)
	echoes.Go(func() { far.echo(&stop) })

	const warmUp = 50
	lost := 0
	for n := range warmUp + t.pings {
		d, err := near.ping()
		switch {
		case errors.Is(err, unix.EAGAIN):
			lost++
		case err != nil:
			return nil, fmt.Errorf("ping from %v: %w", near.local, err)
		case n >= warmUp:
			times = append(times, d)
		}
		nap(pingGap)
	}
	if lost > t.pings/10 {
		return nil, fmt.Errorf("%d of %d pings were lost", lost, t.pings)
	}
	slices.Sort(times)
	return times, nil
}

func (s *socket) ping() (time.Duration, error) {
	var b [pingSize]byte
	sent := time.Now()
	if _, err := unix.Write(s.fd, b[:]); err != nil {
		return 0, err
	}
	_, err := unix.Read(s.fd, b[:])
	for errors.Is(err, unix.EINTR) { // the runtime's signals
		_, err = unix.Read(s.fd, b[:])
	}
	return time.Since(sent), err
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

// percentile returns the value that p percent of the sorted ones are not above.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}
