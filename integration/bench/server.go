//go:build linux

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/integration/population"
	"github.com/teredo-suite/teredo/teredo"
)

// The secret of all clients, for the rows with secrets.
const (
	secretName = "bench"
	secretKey  = "00112233445566778899aabbccddeeff"
)

// server measures router advertisements and forwarded bubbles: how many in a second, and how many in a second of processor time.
//
// That time is the one of all processors but the first, which has the generator and the network in front of the server. The others have
// the server and all that its host does with datagrams, and the way back to the router.
func (b *bench) server(who implementation) (err error) {
	if !b.wants("server") {
		return nil
	}
	progress("  router advertisements and bubbles")
	s, err := newScene(b.bin, who)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.divideProcessors(); err != nil {
		return err
	}
	var first unix.CPUSet
	first.Set(0)
	back, err := useProcessors(first)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, back()) }()
	p, err := s.startServer()
	if err != nil {
		return err
	}
	crowd, err := population.AddHost(s.Lab)
	if err != nil {
		return err
	}
	nonce := teredo.Auth{Nonce: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	own := func(int) netip.Addr { return netip.MustParseAddr("192.168.1.2") }
	clients := func(n int) netip.Addr { return population.Mapped(n).Addr() }
	inet := s.Host("inet")
	one := flood{host: s.Host("client1"), router: s.Host("nat1"), sources: 1, from: own, write: solicitation(nonce), check: isAdvertisement}
	many := flood{host: crowd, router: inet, sources: population.PerPort, from: clients, write: solicitation(nonce), check: isAdvertisement}
	bubbles := flood{host: crowd, router: inet, sources: population.PerPort, from: clients, port: population.Mapped(0).Port(), write: bubble, check: isBubble}
	if err := errors.Join(b.flooded("one", who, one), b.flooded("many", who, many), b.flooded("bubbles", who, bubbles)); err != nil {
		return err
	}
	if who == miredo { // it has no secrets
		for _, name := range []string{"one", "many"} {
			samples := b.samples[name+" cpu"][miredo]
			b.add(name+" secret cpu", miredo, samples[len(samples)-1])
		}
		return nil
	}
	if _, err := p.Stop(patience); err != nil {
		return err
	}
	if s.secrets, err = s.writeSecrets(); err != nil {
		return err
	}
	if _, err := s.startServer(); err != nil {
		return err
	}
	key, err := hex.DecodeString(secretKey)
	if err != nil {
		return err
	}
	signed := teredo.Auth{ClientID: []byte(secretName), Nonce: nonce.Nonce}
	packet := teredo.AppendRouterSolicitation(nil, teredo.ClientLinkLocal(false, netip.AddrPort{}))
	value := teredo.AuthValue(key, signed.Nonce, 0, netip.AddrPort{}, packet)
	signed.Value = value[:]
	one.write, many.write = solicitation(signed), solicitation(signed)
	return errors.Join(b.flooded("one secret", who, one), b.flooded("many secret", who, many))
}

// flooded measures one kind of datagrams.
func (b *bench) flooded(name string, who implementation, f flood) (err error) {
	if err := f.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	// Warms up, and fills the neighbour tables.
	if err := lab.Until(patience, name+" to be answered", func() error { _, err := f.send(b.flood / 4); return err }); err != nil {
		return err
	}
	before, err := otherTime()
	if err != nil {
		return err
	}
	start := time.Now()
	answers, err := f.send(b.flood)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	passed := time.Since(start)
	after, err := otherTime()
	if err != nil {
		return err
	}
	b.add(name+" rate", who, float64(answers)/passed.Seconds())
	b.add(name+" cpu", who, float64(answers)/(after-before).Seconds())
	return nil
}

// divideProcessors has the first processor work for the network in front of the server's host, and the others for that host.
func (s *scene) divideProcessors() error {
	s.divided = true
	others := uint64(1)<<runtime.NumCPU() - 2
	for _, end := range []struct {
		host, ifname string
		mask         uint64
	}{{"server", "uplink", others}, {"inet", "server", 1}} {
		// The folder of interfaces is that of the namespace in which it was mounted.
		script := fmt.Sprintf("mount -t sysfs sysfs /sys && echo %x >/sys/class/net/%s/queues/rx-0/rps_cpus", end.mask, end.ifname)
		if _, err := s.Host(end.host).Run(patience, "unshare", "--mount", "sh", "-c", script); err != nil {
			return err
		}
	}
	return nil
}

// writeSecrets writes the file of secrets.
func (s *scene) writeSecrets() (file string, err error) {
	file = filepath.Join(s.Folder(), "secrets")
	return file, os.WriteFile(file, []byte(secretName+" hex:"+secretKey+"\n"), 0o600)
}

// flood has datagrams to the server arrive at a router, with the addresses of a host behind it, which gets the answers.
type flood struct {
	host, router *lab.Host
	sources      int
	from         func(source int) netip.Addr
	port         uint16                               // of the host; 0: any
	write        func(b []byte, source int) []byte    // writes the payload from the source
	check        func(p *teredo.Packet) (right error) // of an answer

	socket *socket // of the host
	card   *card   // of the router
}

func (f *flood) open() (err error) {
	if f.socket, err = openSocket(f.host, netip.AddrPortFrom(netip.IPv4Unspecified(), f.port)); err != nil {
		return err
	}
	if err := f.socket.joinBursts(); err != nil {
		return errors.Join(err, f.socket.close())
	}
	server := netip.AddrPortFrom(netip.MustParseAddr(lab.ServerAddr), teredo.Port)
	f.card, err = newCard(f.sources, func(n int) (from, to netip.AddrPort, payload []byte) {
		return netip.AddrPortFrom(f.from(n), f.socket.local.Port()), server, f.write(nil, n)
	})
	if err != nil {
		return errors.Join(err, f.socket.close())
	}
	return nil
}

func (f *flood) close() error { return errors.Join(f.socket.close(), f.card.close()) }

// send has as many arrive as are answered, and returns the number of answers. It occupies the first processor.
func (f *flood) send(duration time.Duration) (answers int, err error) {
	var stop atomic.Bool
	sender := make(chan error, 1)
	go func() {
		sender <- f.router.Do(func() (err error) {
			for start := time.Now(); err == nil && time.Since(start) < duration; {
				err = f.card.receive()
			}
			stop.Store(true)
			return err
		})
	}()
	err = f.host.Do(func() error {
		answers, err = f.count(&stop)
		return err
	})
	return answers, errors.Join(<-sender, err)
}

// useProcessors has all threads of the bench use some processors alone, those of the Go runtime too, and returns what undoes that.
// Threads and programs that they start do as well.
func useProcessors(some unix.CPUSet) (back func() error, err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, err
	}
	set := func(to unix.CPUSet) error {
		threads, err := os.ReadDir("/proc/self/task")
		for _, t := range threads {
			id, _ := strconv.Atoi(t.Name())
			if e := unix.SchedSetaffinity(id, &to); e != nil && !errors.Is(e, unix.ESRCH) {
				err = errors.Join(err, e)
			}
		}
		return err
	}
	return func() error { return set(before) }, set(some)
}

// count counts answers until stop is set and none has come for a while.
func (f *flood) count(stop *atomic.Bool) (answers int, err error) {
	in := newMailbox()
	for {
		units := in.receive(f.socket)
		if units == 0 {
			f.card.lose()
			if !stop.Load() {
				continue
			}
			if answers == 0 {
				return 0, errors.New("the server has sent nothing")
			}
			return answers, nil
		}
		if answers == 0 {
			var p teredo.Packet
			if err := errors.Join(p.Parse(in.payload(0)), f.check(&p)); err != nil {
				return 0, fmt.Errorf("what the server has sent: %w", err)
			}
		}
		n := in.datagrams(units)
		answers += n
		f.card.answer(n)
	}
}

// solicitation is a router solicitation, the same of all clients.
func solicitation(auth teredo.Auth) func([]byte, int) []byte {
	payload := teredo.AppendAuth(nil, auth)
	payload = teredo.AppendRouterSolicitation(payload, teredo.ClientLinkLocal(false, netip.AddrPort{}))
	return func(b []byte, _ int) []byte { return append(b, payload...) }
}

// bubble is one to the client that is half of the population away.
func bubble(b []byte, source int) []byte {
	server := netip.MustParseAddr(lab.ServerAddr)
	to := population.Client(server, (source+population.PerPort/2)%population.PerPort)
	return teredo.AppendBubble(b, population.Client(server, source), to, teredo.DefaultHopLimit)
}

func isAdvertisement(p *teredo.Packet) error {
	_, err := teredo.ParseRouterAdvertisement(p.IPv6)
	return err
}

func isBubble(p *teredo.Packet) error {
	if !teredo.IsBubble(p.IPv6) {
		return errors.New("no bubble")
	}
	return nil
}
