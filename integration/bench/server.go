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
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/integration/population"
	"github.com/teredo-suite/teredo/teredo"
)

// window is how many datagrams may be unanswered at once.
const window = 1024

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
	p, err := s.startServer()
	if err != nil {
		return err
	}
	crowd, err := population.AddHost(s.Lab)
	if err != nil {
		return err
	}
	nonce := teredo.Auth{Nonce: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	one := flood{host: s.Host("client1"), sources: 1, write: solicitation(nonce), check: isAdvertisement}
	many := flood{host: crowd, sources: population.PerPort, write: solicitation(nonce), check: isAdvertisement}
	bubbles := flood{host: crowd, sources: population.PerPort, port: population.Mapped(0).Port(), write: bubble, check: isBubble}
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
func (b *bench) flooded(name string, who implementation, f flood) error {
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

// flood sends datagrams to the server from a host, with its own address or as a crowd.
type flood struct {
	host    *lab.Host
	sources int
	port    uint16                               // of the host; 0: any
	write   func(b []byte, source int) []byte    // writes the payload from the source
	check   func(p *teredo.Packet) (right error) // of an answer
}

// send sends as many as are answered, and returns the number of answers. It occupies the first processor.
func (f flood) send(duration time.Duration) (answers int, err error) {
	var all, first unix.CPUSet
	first.Set(0)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := errors.Join(unix.SchedGetaffinity(0, &all), unix.SchedSetaffinity(0, &first)); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &all)) }()
	s, err := openSocket(f.host, netip.AddrPortFrom(netip.IPv4Unspecified(), f.port))
	if err != nil {
		return 0, err
	}
	defer s.close()
	if err := s.joinBursts(); err != nil {
		return 0, err
	}
	server := netip.AddrPortFrom(netip.MustParseAddr(lab.ServerAddr), teredo.Port)

	out, in := newLetters(), newMailbox()
	var payloads [burstMost][]byte
	pending, source := 0, 0
	for start := time.Now(); time.Since(start) < duration; {
		for pending <= window-burstMost {
			for i := range burstMost {
				var from [4]byte // the host's own
				if f.sources > 1 {
					source = (source + 1) % f.sources
					from = population.Mapped(source).Addr().As4()
				}
				payloads[i] = f.write(payloads[i][:0], source)
				out.putFrom(i, from, server, payloads[i])
			}
			if err := out.send(s, burstMost); err != nil {
				return answers, err
			}
			pending += burstMost
		}
		units := in.receive(s)
		if units == 0 {
			pending = 0 // lost
			continue
		}
		if answers == 0 {
			var p teredo.Packet
			if err := errors.Join(p.Parse(in.payload(0)), f.check(&p)); err != nil {
				return 0, fmt.Errorf("what the server has sent: %w", err)
			}
		}
		n := in.datagrams(units)
		answers += n
		pending = max(0, pending-n)
	}
	if answers == 0 {
		return 0, errors.New("the server has sent nothing")
	}
	return answers, nil
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
