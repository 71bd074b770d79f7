//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/integration/population"
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
	var crowds [2]*crowd
	for i, clients := range []int{fewPeers, b.crowd} {
		s, failed := newScene(b.bin, ours)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		if crowds[i], failed = b.assemble(s, clients); failed != nil {
			return failed
		}
		defer crowds[i].close()
	}
	return b.compare(crowds[0], crowds[1])
}

// compare introduces the clients of both labs, and measures them in turns.
func (b *bench) compare(few, many *crowd) error {
	if _, err := few.introduce(0, fewPeers); err != nil {
		return err
	}
	if err := many.fill(); err != nil {
		return err
	}
	progress("  packets to %d and to %d of them", fewPeers, b.crowd)
	for range b.attempts {
		if err := errors.Join(few.measure("few"), many.measure("many")); err != nil {
			return err
		}
	}
	b.add("crowd control", ours, b.kept("crowd many")/b.kept("control many"))
	b.add("crowd control cpu", ours, b.kept("crowd cpu many")/b.kept("control cpu many"))
	progress("  TCP of one more client")
	for range b.attempts {
		if err := errors.Join(few.stream("few"), many.stream("many")); err != nil {
			return err
		}
	}
	return many.welcome()
}

// fill introduces all clients, and finds out what each of them takes.
func (c *crowd) fill() error {
	if _, err := c.introduce(0, fewPeers); err != nil {
		return err
	}
	before, err := resident(c.relay)
	if err != nil {
		return err
	}
	used, err := c.introduce(fewPeers, c.clients)
	if err := errors.Join(err, c.known()); err != nil {
		return err
	}
	after, err := resident(c.relay)
	if err != nil {
		return err
	}
	newClients := float64(c.clients - fewPeers)
	c.add("crowd found", ours, newClients/used.Seconds())
	if !c.quick { // the table has the same size for fewer peers, whose shares would be too large
		c.add("crowd memory", ours, float64(after-before)/newClients)
	}
	return nil
}

// crowd is a trip from client1 to the native host, whose relay has a population of other clients.
type crowd struct {
	*trip
	clients  int        // in the population
	everyone *lab.Host  // which has the addresses of all clients
	host     *socket    // of the native host
	load     *socket    // of the relay's host
	plain    *forwarder // on the relay's host
	in       *mailbox
	out      *letters
	numbers  [burstMost][4]byte // what out points to
	swept    time.Time          // when all clients had sent last

	population                      *population.Population
	toRelay, toForwarder, toClients *round
}

func (b *bench) assemble(s *scene, clients int) (c *crowd, err error) {
	c = &crowd{trip: &trip{bench: b, scene: s}, clients: clients, in: newMailbox(), out: newLetters()}
	if err := errors.Join(c.connect(), c.listen("native")); err != nil {
		return nil, err
	}
	if c.everyone, err = population.AddHost(s.Lab); err != nil {
		return nil, err
	}
	if c.population, err = population.Start(c.everyone); err != nil {
		return nil, err
	}
	if c.host, err = openSocket(s.Host("native"), netip.AddrPortFrom(s.native, 0)); err != nil {
		return nil, err
	}
	if c.load, err = openSocket(s.Host("relay"), netip.AddrPortFrom(netip.MustParseAddr(relayIPv6), 0)); err != nil {
		return nil, err
	}
	if c.plain, err = newForwarder(s.Host("relay")); err != nil {
		return nil, err
	}
	c.toRelay = newRound(visits(clients, func(n int) netip.AddrPort { return netip.AddrPortFrom(client(n), population.DiscardPort) }), payloadSize)
	c.toForwarder = newRound([]netip.AddrPort{c.plain.in.local}, payloadSize)
	c.toClients = newRound(visits(clients, population.Mapped), encapsulated)
	return c, nil
}

func (c *crowd) close() {
	for _, s := range []*socket{c.host, c.load, c.plain.in, c.plain.out} {
		// They go with the namespaces at the latest.
		_ = s.close()
	}
	_ = c.population.Close()
}

// client is the n-th client.
func client(n int) netip.Addr { return population.Client(netip.MustParseAddr(lab.ServerAddr), n) }

// introduce makes the relay know the clients from first to end. Those it knows already send now and then meanwhile, so
// that their paths stay valid. It returns the processor time that the relay has used for the new ones.
func (c *crowd) introduce(first, end int) (used time.Duration, err error) {
	const chunk = 100_000
	for ; first < end; first += chunk {
		if err := c.sweep(first); err != nil {
			return 0, err
		}
		before, err := processorTime(c.relay)
		if err != nil {
			return 0, err
		}
		for n := first; n < min(first+chunk, end); n += burstMost {
			count := min(burstMost, min(first+chunk, end)-n)
			// A relay takes a client for an established one when two packets have come from it.
			if err := errors.Join(c.exchange(n, count), c.exchange(n, count)); err != nil {
				return 0, fmt.Errorf("introduce client %d: %w", n, err)
			}
		}
		after, err := processorTime(c.relay)
		if err != nil {
			return 0, err
		}
		used += after - before
	}
	return used, nil
}

// exchange has the native host send a number to each client, which the client echoes. The host repeats what is not answered.
func (c *crowd) exchange(first, count int) error {
	missing := make(map[int]bool, count)
	for i := range count {
		missing[first+i] = true
	}
	began := time.Now()
	for due := began; len(missing) > 0; {
		if now := time.Now(); now.After(due) {
			if now.Sub(began) > patience {
				return fmt.Errorf("%d of %d were not reached", len(missing), count)
			}
			if err := c.greet(slices.Collect(maps.Keys(missing))...); err != nil {
				return err
			}
			due = now.Add(500 * time.Millisecond)
		}
		for _, n := range c.echoed(c.in.receive(c.host)) {
			delete(missing, n)
		}
	}
	return nil
}

// greet sends some clients their numbers.
func (c *crowd) greet(clients ...int) error {
	for i, n := range clients {
		binary.BigEndian.PutUint32(c.numbers[i][:], uint32(n))
		c.out.put(i, netip.AddrPortFrom(client(n), population.EchoPort), c.numbers[i][:])
	}
	return c.out.send(c.host, len(clients))
}

// echoed is the numbers in the first units that have come to the native host.
func (c *crowd) echoed(units int) (clients []int) {
	for i := range units {
		if b := c.in.payload(i); len(b) == len(c.numbers[0]) {
			clients = append(clients, int(binary.BigEndian.Uint32(b)))
		}
	}
	return clients
}

// sweep has each client send a packet.
func (c *crowd) sweep(clients int) error {
	start := time.Now()
	server, relay := netip.MustParseAddr(lab.ServerAddr), netip.AddrPortFrom(netip.MustParseAddr(lab.RelayAddr), 3545)
	for n := 0; n < clients; {
		if due := int(time.Since(start).Seconds() * sweepRate); n > due {
			nap(200 * time.Microsecond)
			continue
		}
		count := min(population.Burst, clients-n)
		if err := c.population.Speak(server, n, count, relay, c.native); err != nil {
			return err
		}
		n += count
	}
	return nil
}

// known checks that the relay has as many clients in its list as there are.
func (c *crowd) known() error {
	var status struct{ Peers int }
	if err := c.status("relay", "relay", &status); err != nil {
		return err
	}
	if status.Peers < c.clients {
		return fmt.Errorf("the relay knows %d clients of %d", status.Peers, c.clients)
	}
	return nil
}

// measure finds how many packets in a second reach the clients when more are sent than can be forwarded: by the relay, and
// then by a forwarder that does nothing but forward. What that one loses when there are very many clients, the kernel takes
// from every program. The clients take no processor time meanwhile: they are silent.
func (c *crowd) measure(which string) error {
	if err := errors.Join(c.keepLive(), c.population.Close()); err != nil {
		return err
	}
	if err := c.forward("crowd", which, c.toRelay, func() (time.Duration, error) { return processorTime(c.relay) }); err != nil {
		return err
	}
	stop := c.plain.start(c.toClients)
	err := c.forward("control", which, c.toForwarder, c.plain.processorTime)
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	c.population, err = population.Start(c.everyone)
	return err
}

// forward measures one that forwards, whose processor time used tells: packets in a second, and per second of that time.
func (c *crowd) forward(who, which string, r *round, used func() (time.Duration, error)) error {
	packets, err := c.arrived()
	if err != nil {
		return err
	}
	before, err := used()
	if err != nil {
		return err
	}
	rate, err := c.overload(r)
	if err != nil {
		return err
	}
	all, err := c.arrived()
	if err != nil {
		return err
	}
	after, err := used()
	if err != nil {
		return err
	}
	c.add(who+" "+which, ours, rate)
	c.add(who+" cpu "+which, ours, float64(all-packets)/(after-before).Seconds())
	return nil
}

// stream measures TCP from the native host to client1. The crowd, from which the relay has just heard, is silent meanwhile.
func (c *crowd) stream(which string) error {
	// The relay may have dropped client1 from its list when the crowd came.
	if err := errors.Join(c.keepLive(), c.reach("client1", c.native)); err != nil {
		return err
	}
	_, rate, err := c.scene.transfer(c.plan.transfer, bulk{"client1", c.native, true})
	c.add("crowd tcp "+which, ours, rate/1e9)
	return errors.Join(err, c.known())
}

// keepLive has each client send a packet if that was long ago. The relay then has heard of none more than 20 s ago before the
// next measurement has ended.
func (c *crowd) keepLive() error {
	if time.Since(c.swept) <= sweepAfter {
		return nil
	}
	err := c.sweep(c.clients)
	c.swept = time.Now()
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
func (c *crowd) overload(r *round) (float64, error) {
	before, err := c.arrived()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	for time.Since(start) < c.trial {
		if err := r.send(c.load, burstMost); err != nil {
			return 0, err
		}
	}
	after, err := c.arrived()
	rate := float64(after-before) / time.Since(start).Seconds()
	time.Sleep(settle)
	return rate, err
}

// arrived is how many packets have come to the population.
func (c *crowd) arrived() (packets int, err error) {
	var devices []byte
	err = c.everyone.Do(func() (err error) {
		devices, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	_, counters, _ := strings.Cut(string(devices), "uplink:")
	fields := strings.Fields(counters)
	if err == nil && len(fields) > 1 {
		return strconv.Atoi(fields[1])
	}
	return 0, errors.Join(err, errors.New("no counters of the population's uplink"))
}

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
