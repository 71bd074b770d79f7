//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
)

// nativePrefix is the /64 from which clients of ours have their native addresses.
const nativePrefix = "2001:db8:c::/64"

// smallPayload is the UDP payload of the packet rates here. Translation costs the same for each packet, so it shows most
// where packets are small.
const smallPayload = 64

// translated measures traffic of a client whose address is translated: for ours by a native prefix, for Miredo by the
// kernel's masquerade on the relay's host. Beside each runs the same without translation. All labs exist at the same time
// and are measured in turns, so that the two figures of a pair see the same machine.
func (b *bench) translated() (err error) {
	if !b.wants("native") {
		return nil
	}
	progress("translated traffic")
	var trips []*trip // of each implementation two: without translation and with it
	defer func() {
		for _, t := range trips {
			err = errors.Join(err, t.scene.Close())
		}
	}()
	for _, who := range implementations {
		for _, translates := range []bool{false, true} {
			s, err := newScene(b.bin, who)
			if err != nil {
				return err
			}
			s.translates = translates
			t := &trip{bench: b, scene: s}
			trips = append(trips, t)
			if err := t.begin(); err != nil {
				return fmt.Errorf("prepare %s: %w", who, err)
			}
		}
	}
	for round := range b.rounds {
		for _, c := range crossings {
			for pair := range slices.Chunk(trips, 2) {
				progress("  round %d of %d: %s, %s", round+1, b.rounds, c.name, pair[0].who)
				if err := b.sideBySide(c, pair[0], pair[1]); err != nil {
					return fmt.Errorf("%s of %s: %w", c.name, pair[0].who, err)
				}
			}
		}
	}
	return nil
}

// crossing is one way in which traffic crosses the relay, and how its rate is measured.
type crossing struct {
	name string
	rate func(*trip) (float64, error)
}

var crossings = []crossing{
	{"tcp up", func(t *trip) (float64, error) { return t.stream(false) }},
	{"tcp down", func(t *trip) (float64, error) { return t.stream(true) }},
	{"udp up", func(t *trip) (float64, error) { return t.datagrams(false) }},
	{"udp down", func(t *trip) (float64, error) { return t.datagrams(true) }},
}

// sideBySide measures one crossing without translation and right after it with it.
func (b *bench) sideBySide(c crossing, untranslated, translated *trip) error {
	before, err := c.measure(untranslated)
	if err != nil {
		return err
	}
	after, err := c.measure(translated)
	if err != nil {
		return err
	}
	b.add("untranslated "+c.name, untranslated.who, before)
	b.add("translated "+c.name, translated.who, after)
	if before > 0 {
		b.add("share "+c.name, translated.who, after/before)
	}
	return nil
}

// measure finds the rate of one crossing. The path may have to be found again, because it was idle during the others' turns.
func (c crossing) measure(t *trip) (float64, error) {
	if err := t.reach("client1", t.native); err != nil {
		return 0, err
	}
	return c.rate(t)
}

// begin starts the programs and whatever the measurements need.
func (t *trip) begin() error {
	if t.translates {
		if err := t.translate(); err != nil {
			return err
		}
	}
	if err := t.connect(); err != nil {
		return err
	}
	return t.listen("native")
}

// translate prepares the network. The route to 2001::/32 is taken away, because translation makes it needless: answers of
// native hosts come to a prefix that is routed to the relay, or, with masquerade, to an address of the relay's host.
func (s *scene) translate() error {
	type command struct{ host, line string }
	commands := []command{{"inet", "ip -6 route delete 2001::/32"}}
	if s.who == miredo {
		// The server's echo requests leave through the relay's host, so that the same masquerade brings the replies to the relay.
		commands = append(commands,
			command{"inet", "ip -6 route add default via " + relayIPv6 + " table 2"},
			command{"inet", "ip -6 rule add iif server lookup 2"},
			command{"relay", "nft 'table ip6 nat { chain postrouting { type nat hook postrouting priority srcnat; " +
				"ip6 saddr 2001::/32 ip6 daddr != 2001::/32 masquerade; }; }'"})
	} else {
		commands = append(commands, command{"inet", "ip -6 route add " + nativePrefix + " via " + relayIPv6})
	}
	for _, c := range commands {
		if _, err := s.Host(c.host).Run(patience, "sh", "-c", c.line); err != nil {
			return err
		}
	}
	return nil
}

// stream measures one TCP stream, in Gbit/s.
func (t *trip) stream(reverse bool) (float64, error) {
	_, rate, err := t.scene.transfer(t.plan.transfer, bulk{"client1", t.native, reverse})
	return rate / 1e9, err
}

// datagrams finds the loss-free packet rate in one direction.
func (t *trip) datagrams(reverse bool) (float64, error) {
	near, far, err := t.sockets(t.address, t.native)
	if err != nil {
		return 0, err
	}
	defer near.close()
	defer far.close()
	if reverse {
		near, far = far, near
	}
	return t.lossFree(near, far, smallPayload)
}

// sockets opens a socket of client1 and one of the native host, at these addresses, that are connected to each other.
func (t *trip) sockets(client, native netip.Addr) (near, far *socket, err error) {
	if near, err = openSocket(t.Host("client1"), netip.AddrPortFrom(client, 0)); err != nil {
		return nil, nil, err
	}
	if far, err = openSocket(t.Host("native"), netip.AddrPortFrom(native, 0)); err != nil {
		return nil, nil, errors.Join(err, near.close())
	}
	if err := errors.Join(near.connect(far.local), near.introduce(far)); err != nil {
		return nil, nil, errors.Join(err, near.close(), far.close())
	}
	return near, far, nil
}

// introduce connects the other socket to where this one's datagrams come from. Only their receiver knows that when they are
// translated on the way.
func (s *socket) introduce(to *socket) error {
	return lab.Until(patience, "a datagram to arrive", func() error {
		if _, err := unix.Write(s.fd, []byte{0}); err != nil {
			return err
		}
		_, from, err := unix.Recvfrom(to.fd, make([]byte, 1), 0)
		if err != nil {
			return err
		}
		return to.connect(addrPort(from))
	})
}
