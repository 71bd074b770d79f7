//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/integration/population"
	"github.com/teredo-suite/teredo/teredo"
)

// window is how many router solicitations may be unanswered at once.
const window = 1024

// server measures router advertisements: how many in a second, and how many in a second of the server's processor time.
// They go to one client behind its NAT, and to many clients in turn.
func (b *bench) server(who implementation) (err error) {
	if !b.wants("server") || who == workers { // it has no kernel path
		return nil
	}
	progress("  router advertisements")
	s, err := newScene(b.bin, who)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p, err := s.startServer()
	if err != nil {
		return err
	}
	many, err := population.AddHost(s.Lab)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		flood
	}{{"one", flood{s.Host("client1"), 1}}, {"many", flood{many, population.PerPort}}} {
		if _, err := f.solicit(b.flood / 4); err != nil { // warms up, and fills the neighbour tables
			return err
		}
		before, err := processorTime(p)
		if err != nil {
			return err
		}
		start := time.Now()
		answers, err := f.solicit(b.flood)
		if err != nil {
			return err
		}
		passed := time.Since(start)
		after, err := processorTime(p)
		if err != nil {
			return err
		}
		b.add(f.name+" rate", who, float64(answers)/passed.Seconds())
		b.add(f.name+" cpu", who, float64(answers)/(after-before).Seconds())
	}
	return nil
}

// flood sends router solicitations from a host, with its own address or those of a population.
type flood struct {
	host    *lab.Host
	sources int
}

// solicit sends as many as are answered, and returns the number of answers.
func (f flood) solicit(duration time.Duration) (answers int, err error) {
	s, err := openSocket(f.host, netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	if err != nil {
		return 0, err
	}
	defer s.close()
	if err := s.joinBursts(); err != nil {
		return 0, err
	}
	solicitation := teredo.AppendAuth(nil, teredo.Auth{Nonce: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}})
	solicitation = teredo.AppendRouterSolicitation(solicitation, teredo.ClientLinkLocal(false, netip.AddrPort{}))
	server := netip.AddrPortFrom(netip.MustParseAddr(lab.ServerAddr), teredo.Port)

	out, in := newLetters(), newMailbox()
	pending, source := 0, 0
	for start := time.Now(); time.Since(start) < duration; {
		for pending <= window-burstMost {
			for i := range burstMost {
				var from [4]byte // the host's own
				if f.sources > 1 {
					source = (source + 1) % f.sources
					from = population.Mapped(source).Addr().As4()
				}
				out.putFrom(i, from, server, solicitation)
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
			if err := isAdvertisement(in.payload(0)); err != nil {
				return 0, err
			}
		}
		n := in.datagrams(units)
		answers += n
		pending = max(0, pending-n)
	}
	return answers, nil
}

func isAdvertisement(payload []byte) error {
	var p teredo.Packet
	if err := p.Parse(payload); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	if _, err := teredo.ParseRouterAdvertisement(p.IPv6); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	return nil
}
