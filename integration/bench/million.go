//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	fewPeers = 10
	// sweepRate is how many clients are heard of in a second, so that the relay holds their paths for valid.
	sweepRate = 150_000.0
	// sweepAfter, the time of a sweep and that of a measurement (7 s and 5 s in a full run) are together below the age at which
	// a relay tries a path anew (20 s).
	sweepAfter = 6 * time.Second
	settle     = 100 * time.Millisecond // for what is still under way when the sender has finished
)

// million measures a relay that has very many live peers at once, in turns with one that has few, in a lab of its own.
func (b *bench) million() (err error) {
	if !b.wants("crowd") {
		return nil
	}
	progress("a relay with many peers")
	var labs [2]*population
	for i, clients := range []int{fewPeers, b.crowd} {
		s, failed := newScene(b.bin, ours)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		if labs[i], failed = b.populate(s, clients); failed != nil {
			return failed
		}
		defer labs[i].close()
	}
	return b.compare(labs[0], labs[1])
}

// compare introduces the clients of both labs, and measures them in turns.
func (b *bench) compare(few, many *population) error {
	if err := many.introduce(0, fewPeers); err != nil {
		return err
	}
	before, err := many.memory()
	if err != nil {
		return err
	}
	if err := errors.Join(many.introduce(fewPeers, b.crowd), many.known(), few.introduce(0, fewPeers)); err != nil {
		return err
	}
	progress("  packets to %d and to %d of them", fewPeers, b.crowd)
	for range b.attempts {
		if err := errors.Join(few.measure("few"), many.measure("many")); err != nil {
			return err
		}
	}
	b.add("crowd control", ours, b.kept("crowd many")/b.kept("control many"))
	if !b.quick { // the table has the same size for fewer peers, whose shares would be too large
		after, err := many.memory()
		if err != nil {
			return err
		}
		b.add("crowd memory", ours, float64(after-before)/float64(b.crowd-fewPeers))
	}
	progress("  TCP of one more client")
	for range b.attempts {
		if err := errors.Join(few.stream("few"), many.stream("many")); err != nil {
			return err
		}
	}
	return nil
}

// population is a trip from client1 to the native host, whose relay has a crowd of other clients. These have a server of
// their own.
type population struct {
	*trip
	clients int // in the crowd
	crowd   *crowd
	server  *socket    // the server of the crowd
	ports   []*socket  // of the clients in the crowd
	host    *socket    // of the native host
	load    *socket    // of the relay's host
	plain   *forwarder // on the relay's host
	in      *mailbox
	out     *letters
	built   [burstMost][]byte // what out points to
	swept   time.Time         // when all clients had sent last

	toRelay, toForwarder, toClients *round
}

// serverOfCrowd is an address of the crowd that no client has: the range has more addresses than clients use.
const serverOfCrowd = "198.19.255.255"

func (b *bench) populate(s *scene, clients int) (p *population, err error) {
	p = &population{trip: &trip{bench: b, scene: s}, clients: clients, in: newMailbox(), out: newLetters()}
	if err := errors.Join(p.connect(), p.listen("native")); err != nil {
		return nil, err
	}
	if p.crowd, err = s.addCrowd(); err != nil {
		return nil, err
	}
	server := netip.AddrPortFrom(netip.MustParseAddr(serverOfCrowd), teredo.Port)
	if p.server, err = openSocket(p.crowd.Host, server); err != nil {
		return nil, err
	}
	for n := range clientPorts {
		port, err := openSocket(p.crowd.Host, netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(firstPort+n)))
		if err != nil {
			return nil, err
		}
		p.ports = append(p.ports, port)
	}
	if p.host, err = openSocket(s.Host("native"), netip.AddrPortFrom(s.native, 0)); err != nil {
		return nil, err
	}
	if p.load, err = openSocket(s.Host("relay"), netip.AddrPortFrom(netip.MustParseAddr(relayIPv6), 0)); err != nil {
		return nil, err
	}
	if p.plain, err = newForwarder(s.Host("relay")); err != nil {
		return nil, err
	}
	p.toRelay = newRound(visits(clients, func(n int) netip.AddrPort { return netip.AddrPortFrom(client(n), 9) }), payloadSize)
	p.toForwarder = newRound([]netip.AddrPort{p.plain.in.local}, payloadSize)
	p.toClients = newRound(visits(clients, mapped), encapsulated)
	return p, nil
}

func (p *population) close() {
	for _, s := range append(p.ports, p.server, p.host, p.load, p.plain.in, p.plain.out) {
		// They go with the namespaces at the latest.
		_ = s.close()
	}
}

// client is the n-th client.
func client(n int) netip.Addr {
	return teredo.Address{Server: netip.MustParseAddr(serverOfCrowd), Mapped: mapped(n)}.Addr()
}

// introduce makes the relay know the clients from first to end. Those it knows already send now and then meanwhile, so
// that their paths stay valid.
func (p *population) introduce(first, end int) error {
	const chunk = 100_000
	for _, port := range p.ports {
		port.drain() // what earlier measurements have left, which would take up the room
	}
	for ; first < end; first += chunk {
		if err := p.sweep(first); err != nil {
			return err
		}
		for n := first; n < min(first+chunk, end); {
			count := min(burstMost, min(first+chunk, end)-n, onePort-n%onePort)
			if err := p.meet(n, count); err != nil {
				return fmt.Errorf("introduce client %d: %w", n, err)
			}
			n += count
		}
	}
	return nil
}

// hello is what the native host sends at first contact.
var hello = []byte("hello")

// meet has the native host send to clients, which makes the relay look for them. It knows one when that receives what the
// host has sent; the client answers with two packets. All have the same port.
func (p *population) meet(first, count int) error {
	strangers := make(map[netip.Addr]bool, count)
	for i := range count {
		strangers[client(first+i)] = true
	}
	began := time.Now()
	for due := began; len(strangers) > 0; {
		if now := time.Now(); now.After(due) {
			if now.Sub(began) > patience {
				return fmt.Errorf("%d of %d were not reached", len(strangers), count)
			}
			if err := p.greet(strangers); err != nil {
				return err
			}
			due = now.Add(500 * time.Millisecond)
		}
		if err := p.answer(p.port(first), strangers); err != nil {
			return err
		}
	}
	return nil
}

// greet sends hello to clients.
func (p *population) greet(strangers map[netip.Addr]bool) error {
	i := 0
	for to := range strangers {
		p.out.put(i, netip.AddrPortFrom(to, 9), hello)
		i++
	}
	return p.out.send(p.host, i)
}

// answer plays the clients for what has come: bubbles that their server passes on, and hello.
func (p *population) answer(port *socket, strangers map[netip.Addr]bool) error {
	out := 0
	put := func(self netip.Addr, packet []byte) {
		p.built[out] = packet
		p.out.putFrom(out, teredo.Mapped(self).Addr().As4(), p.relayAddr(), packet)
		out++
	}
	for i := range p.in.poll(p.server) {
		bubble := p.in.payload(i)
		self := teredo.Destination(bubble)
		put(self, teredo.AppendBubble(p.built[out][:0], self, teredo.Source(bubble), 255))
	}
	if err := p.out.send(port, out); err != nil {
		return err
	}
	out = 0
	for i := range p.in.poll(port) {
		packet := p.in.payload(i)
		if self := teredo.Destination(packet); strangers[self] && bytes.HasSuffix(packet, hello) {
			delete(strangers, self)
			put(self, p.data(p.built[out][:0], self))
		}
	}
	return errors.Join(p.out.send(port, out), p.out.send(port, out)) // twice
}

// port is the socket of the n-th client, which it shares with many.
func (p *population) port(n int) *socket { return p.ports[mapped(n).Port()-firstPort] }

func (p *population) relayAddr() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(lab.RelayAddr), 3545)
}

// data appends a packet of a client to the native host, which ignores it: an echo reply that it has not asked for.
func (p *population) data(b []byte, self netip.Addr) []byte {
	var request [64]byte
	return teredo.AppendEchoReply(b, self, teredo.AppendEchoRequest(request[:0], p.native, self, 1, 1, nil))
}

// sweep has each client send a packet.
func (p *population) sweep(clients int) error {
	start := time.Now()
	for n := 0; n < clients; {
		if due := int(time.Since(start).Seconds() * sweepRate); n > due {
			nap(200 * time.Microsecond)
			continue
		}
		count := min(burstMost, clients-n, onePort-n%onePort)
		for i := range count {
			p.built[i] = p.data(p.built[i][:0], client(n+i))
			p.out.putFrom(i, crowdAddr(n+i), p.relayAddr(), p.built[i])
		}
		if err := p.out.send(p.port(n), count); err != nil {
			return err
		}
		n += count
	}
	return nil
}

// known checks that the relay has as many clients in its list as there are.
func (p *population) known() error {
	var status struct{ Peers int }
	if err := p.status("relay", "relay", &status); err != nil {
		return err
	}
	if status.Peers < p.clients {
		return fmt.Errorf("the relay knows %d clients of %d", status.Peers, p.clients)
	}
	return nil
}

// measure finds how many packets in a second reach the clients when more are sent than can be forwarded: by the relay, and
// then by a forwarder that does nothing but forward. What that one loses when there are very many clients, the kernel takes
// from every program.
func (p *population) measure(which string) error {
	if err := p.keepLive(); err != nil {
		return err
	}
	rate, err := p.overload(p.toRelay)
	if err != nil {
		return err
	}
	p.add("crowd "+which, ours, rate)
	stop := p.plain.start(p.toClients)
	rate, err = p.overload(p.toForwarder)
	p.add("control "+which, ours, rate)
	return errors.Join(err, stop())
}

// stream measures TCP from the native host to client1. The crowd, from which the relay has just heard, is silent meanwhile.
func (p *population) stream(which string) error {
	// The relay may have dropped client1 from its list when the crowd came.
	if err := errors.Join(p.keepLive(), p.reach("client1", p.native)); err != nil {
		return err
	}
	_, rate, err := p.scene.transfer(p.plan.transfer, bulk{"client1", p.native, true})
	p.add("crowd tcp "+which, ours, rate/1e9)
	return errors.Join(err, p.known())
}

// keepLive has each client send a packet if that was long ago. The relay then has heard of none more than 20 s ago before the
// next measurement has ended.
func (p *population) keepLive() error {
	if time.Since(p.swept) <= sweepAfter {
		return nil
	}
	err := p.sweep(p.clients)
	p.swept = time.Now()
	return err
}

// visits are the endpoints of all clients in the order in which packets are sent to them.
func visits(clients int, endpoint func(n int) netip.AddrPort) []netip.AddrPort {
	const stride = 7919 // prime, so that every client has its turn, and none two in a row
	all := make([]netip.AddrPort, clients)
	for i := range all {
		all[i] = endpoint((i + 1) * stride % clients)
	}
	return all
}

// overload sends from the relay's host for a while, as fast as it can, and returns how many packets in a second arrived at
// the clients. From any other host the way to the relay would take the sender as long as the relay's work takes that.
func (p *population) overload(r *round) (float64, error) {
	before, err := p.arrived()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	for time.Since(start) < p.trial {
		if err := r.send(p.load, burstMost); err != nil {
			return 0, err
		}
	}
	after, err := p.arrived()
	rate := float64(after-before) / time.Since(start).Seconds()
	time.Sleep(settle)
	return rate, err
}

// arrived is how many packets have come to the crowd.
func (p *population) arrived() (packets int, err error) {
	var devices []byte
	err = p.crowd.Do(func() (err error) {
		devices, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	_, counters, _ := strings.Cut(string(devices), "uplink:")
	fields := strings.Fields(counters)
	if err == nil && len(fields) > 1 {
		return strconv.Atoi(fields[1])
	}
	return 0, errors.Join(err, errors.New("no counters of the crowd's uplink"))
}

// memory is the relay's resident memory in bytes.
func (p *population) memory() (int, error) { return resident(p.relay) }

// resident is the resident memory of a program in bytes.
func resident(p *lab.Process) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	n, err := strconv.Atoi(kilobytes)
	return n << 10, err
}
