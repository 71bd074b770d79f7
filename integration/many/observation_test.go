//go:build linux

package many

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// observation is what happens to all traffic from a moment on.
type observation struct {
	*service
	began time.Time
	by    map[*flow]site // the relays of our clients' flows
	gone  []site
}

// relaysOfFlows are the relays of the flows of our clients, as these say.
func (s *service) relaysOfFlows() map[*flow]site {
	s.t.Helper()
	by := make(map[*flow]site)
	for _, f := range s.flows {
		if !f.ours {
			continue
		}
		var peers []struct{ Address, Endpoint string }
		out := s.query(f.name, "client", "peers")
		if err := json.Unmarshal([]byte(out), &peers); err != nil {
			s.t.Fatalf("peers of %s: %v: %s", f.name, err, out)
		}
		for _, p := range peers {
			for _, at := range relaysExcept() {
				if p.Address == nativeAddr(f.native).String() && strings.HasPrefix(p.Endpoint, at.addr4()+":") {
					by[f] = at
				}
			}
		}
	}
	return by
}

// busiest is the relay of most of our clients' traffic. The router must have spread it over all relays.
func (s *service) busiest() site {
	s.t.Helper()
	count := make(map[site]int)
	for _, at := range s.relaysOfFlows() {
		count[at]++
	}
	if len(count) != relays {
		s.t.Errorf("flows of each relay: %v", count)
	}
	return slices.MaxFunc(relaysExcept(), func(a, b site) int { return count[a] - count[b] })
}

// observe begins an observation of what happens when relays go.
func (s *service) observe(gone ...site) *observation {
	s.t.Helper()
	by := s.relaysOfFlows()
	return &observation{s, time.Now(), by, gone}
}

// check waits until all traffic of our clients goes on, and checks that the longest interruption of our clients' was no longer than most, and that
// nothing is lost if nothing may be. A machine that has too much to do stops the control traffic, too: that time counts for nothing.
func (o *observation) check(most time.Duration, lossless bool) (err error) {
	o.t.Helper()
	for range 2 { // an interruption may begin late
		o.untilFlows(o.ourFlows(), time.Now())
		time.Sleep(time.Second)
	}
	ended := time.Now().Add(-time.Second)
	stall, dropped := time.Duration(0), 0
	for _, f := range o.control {
		stall = max(stall, f.gap(o.began))
		dropped += f.lost(o.began, ended)
	}
	o.stalled = max(o.stalled, stall)
	type row struct {
		of   string
		kind kind
	}
	gaps, losses := make(map[row]time.Duration), make(map[row]int)
	for _, f := range o.flows {
		if lossless {
			// Nothing is said yet of what is under way.
			_ = lab.Until(lateness, f.String(), func() error {
				if n := f.lost(o.began, ended); n > dropped {
					return fmt.Errorf("%d are missing", n)
				}
				return nil
			})
		}
		gap, lost, r := f.gap(o.began), f.lost(o.began, ended), row{"Miredo", f.kind}
		if f.ours {
			r.of = map[bool]string{true: "affected", false: "others"}[slices.Contains(o.gone, o.by[f])]
		}
		gaps[r], losses[r] = max(gaps[r], gap), losses[r]+lost
		if f.ours && gap > most+stall {
			err = errors.Join(err, fmt.Errorf("%v: interrupted for %v, while the control traffic was for %v", f, gap, stall))
		}
		if f.ours && lossless && lost > dropped {
			err = errors.Join(err, fmt.Errorf("%v: %d packets are lost, and %d of the control traffic", f, lost, dropped))
		}
	}
	for _, of := range []string{"affected", "others", "Miredo"} {
		for _, k := range []kind{echoes, upload, download} {
			if gap, any := gaps[row{of, k}]; any {
				o.t.Logf("%-9s %-23s longest interruption %5d ms, %d lost", of, k, gap.Milliseconds(), losses[row{of, k}])
			}
		}
	}
	o.t.Logf("control traffic: %d ms, %d lost", stall.Milliseconds(), dropped)
	return err
}

// flood has a host at the site of a relay send to clients that do not exist, in the name of hosts in many networks.
func (s *service) flood(at site) (stop func()) {
	s.t.Helper()
	const networks = "2001:db8:f::/48"
	host := "crowd" + at.name
	if _, err := s.AddHost(at.name, host, "2001:db8:e::ff/64", "2001:db8:e::1/64"); err != nil {
		s.t.Fatal(err)
	}
	s.run(at.name, "ip", "-6", "route", "add", networks, "via", "2001:db8:e::1")
	s.run(host, "ip", "-6", "route", "add", "local", networks, "dev", "lo")
	s.run(host, "sysctl", "-w", "net.ipv6.ip_nonlocal_bind=1")
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Host(host).Do(func() error { return crowd(ended) }) }()
	return sync.OnceFunc(func() {
		close(ended)
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
}

// crowd sends about 2000 packets a second, which is twice what the relay may cause.
func crowd(ended <-chan struct{}) error {
	var sockets []net.PacketConn
	defer func() {
		for _, c := range sockets {
			c.Close()
		}
	}()
	for n := range 100 {
		network := netip.MustParseAddr("2001:db8:f::1").As16()
		binary.BigEndian.PutUint16(network[6:], uint16(n))
		c, err := net.ListenPacket("udp", netip.AddrPortFrom(netip.AddrFrom16(network), 0).String())
		if err != nil {
			return err
		}
		sockets = append(sockets, c)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for n := 0; ; {
		select {
		case <-ended:
			return nil
		case <-tick.C:
		}
		for n < int(time.Since(began)/(500*time.Microsecond)) { // also what a busy machine has missed
			n++
			to := teredo.Address{
				Server: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + n%200)}),
				Mapped: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(rand.N(256))}), uint16(1024+rand.N(60000))),
			}.Addr()
			_, err := sockets[n%len(sockets)].WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
			if err != nil && errors.Is(err, net.ErrClosed) {
				return err
			}
		}
	}
}
