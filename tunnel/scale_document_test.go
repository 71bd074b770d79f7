package tunnel_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	scaleDocument = "../docs/scale.md"
	benchResults  = "../docs/bench/results.json"

	scaleBegin = "<!-- begin: written by TestScale -->\n"
	scaleEnd   = "<!-- end -->\n"
)

// What is assumed of clients and networks. Every figure that follows from it is proportional to it.
const (
	activeShare  = 0.1       // of the clients exchange packets with native hosts at a time
	contactEvery = 60.0      // seconds between two native hosts that an active client has not exchanged packets with
	activeRate   = 1e6       // bit/s of IPv6 packets of an active client, both ways together
	packetSize   = 1000      // bytes of an IPv6 packet on average
	hostCores    = 16        // of the host of a server, or of a relay, whose workers use all of them
	nextHops     = 64        // that a router spreads one route over
	headers      = 20.0 + 8. // bytes of IPv4 and UDP around each packet
)

// costs are what `make bench` has measured. All but memory are how many in a second of one processor.
type costs struct {
	Machine, Kernel string

	answers float64 // of a server
	packets float64 // that a relay carries
	found   float64 // new clients that a relay finds
	memory  float64 // bytes of a relay for each client
}

// measuredCosts reads the results of `make bench`.
func measuredCosts(t *testing.T) (c costs) {
	t.Helper()
	b, err := os.ReadFile(benchResults)
	if err != nil {
		t.Fatal(err)
	}
	var results struct {
		Rows []struct {
			What string
			Ours struct{ Median float64 }
		}
	}
	if err := json.Unmarshal(b, &results); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	measured := make(map[string]float64)
	for _, row := range results.Rows {
		measured[row.What] = row.Ours.Median
	}
	for what, to := range map[string]*float64{
		"router advertisements to many clients, per processor second":                                                            &c.answers,
		"packets that a relay forwards, one to each of its 1,000,000 peers in turn, per second of its processor time":            &c.packets,
		"new clients that a relay with up to 1,000,000 peers finds, with two packets each way, per second of its processor time": &c.found,
		"memory of a relay for each of 1,000,000 peers":                                                                          &c.memory,
	} {
		if *to = measured[what]; *to <= 0 {
			t.Fatalf("%s does not have %q: run make bench BENCHFLAGS=\"-only server,crowd\" as root", benchResults, what)
		}
	}
	return c
}

// load is what one client causes, as the simulated internet shows with the timers of the programs.
type load struct {
	solicitations float64 // a second, when it does nothing else
	keepAlive     float64 // bit/s between it and its server, both ways together, with IPv4 and UDP headers
	contact       int     // datagrams that its server has to pass on when it first reaches a native host
	bubbles       int     // those among them that the relay sends
}

// simulatedLoad has a client behind a NAT be idle for a day, and then reach a native host.
func simulatedLoad(t *testing.T) (l load) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		w := newWorld(t, in)
		c := w.qualified(w.NAT(natsim.PortRestricted()).Network)
		time.Sleep(time.Minute) // until the secondary address has answered, too
		const idle = 24 * time.Hour
		begin := w.Now()
		time.Sleep(idle)
		for _, r := range w.atServer(begin) {
			l.keepAlive += (headers + float64(len(r.Packet.Payload))) * 8 / idle.Seconds()
			if r.Packet.Kind() == "solicitation" {
				l.solicitations += 1 / idle.Seconds()
			}
		}
		host := w.Native()
		begin = w.Now()
		c.Send(host.Addr(), "hello")
		w.expect(host.Stack, "hello", begin+clientToNative)
		for _, r := range w.atServer(begin) {
			if kind := r.Packet.Kind(); r.Packet.Dst.Port() == teredo.Port && kind != "solicitation" {
				l.contact++
				if kind == "bubble" {
					l.bubbles++
				}
			}
		}
	})
	return l
}

// atServer are the datagrams to and from servers since some time.
func (w *world) atServer(since time.Duration) (records []natsim.Record) {
	for _, r := range w.Sent(func(p natsim.Packet) bool { return p.Dst.Port() == teredo.Port || p.Src.Port() == teredo.Port }) {
		if r.At >= since {
			records = append(records, r)
		}
	}
	return records
}

// site is what a number of clients needs.
type site struct {
	clients       float64
	solicitations float64 // a second
	passed        float64 // datagrams a second that servers pass on
	keepAlive     float64 // bit/s
	serverCores   float64
	servers       float64

	packets    float64 // a second, through relays
	traffic    float64 // bit/s, with IPv4 and UDP headers
	found      float64 // new clients a second
	relayCores float64
	memory     float64 // bytes, of all relays together
	relays     float64

	sessions, sites float64
}

// size calculates what a number of clients needs.
func size(clients float64, c costs, l load) site {
	active := clients * activeShare
	s := site{clients: clients, solicitations: clients * l.solicitations, keepAlive: clients * l.keepAlive}
	contacts := active / contactEvery
	s.passed, s.found = contacts*float64(l.contact), contacts*float64(l.bubbles)
	s.serverCores = (s.solicitations + s.passed) / c.answers
	s.servers = max(2, math.Ceil(s.serverCores/hostCores))

	s.packets = active * activeRate / 8 / packetSize
	s.traffic = s.packets * (packetSize + headers) * 8
	s.relayCores = s.packets/c.packets + s.found/c.found
	s.memory = clients * c.memory
	s.relays = max(2, math.Ceil(s.relayCores/hostCores), math.Ceil(clients/peer.MostClients))

	s.sessions = s.servers + s.relays
	s.sites = max(2, math.Ceil(s.relays/nextHops), math.Ceil(s.servers/nextHops))
	return s
}

// The arithmetic, by hand: a tenth of a million clients is active, and each of these moves 125 packets a second.
func TestSize(t *testing.T) {
	got := size(1e6, costs{answers: 90_000, packets: 250_000, found: 10_000, memory: 256},
		load{solicitations: 0.04, keepAlive: 80, contact: 3, bubbles: 1})
	want := site{
		clients: 1e6, solicitations: 40_000, passed: 5000, keepAlive: 80e6, serverCores: 0.5, servers: 2,
		packets: 12.5e6, traffic: 102.8e9, found: 1666.67, relayCores: 50.1667, memory: 256e6, relays: 4, sessions: 6, sites: 2,
	}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 1e-5*math.Abs(b) })
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(site{}), near); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := size(1e8, costs{answers: 1e9, packets: 1e12, found: 1e12, memory: 1}, load{}); got.relays != 96 || got.sites != 2 {
		t.Errorf("10^8 clients have %v relays at %v sites, want 96, each with 2^20 clients at most, at 2", got.relays, got.sites)
	}
}

// docs/scale.md has the table that follows from the results of `make bench` and from the timers of the programs.
func TestScale(t *testing.T) {
	text := scaleTables(measuredCosts(t), simulatedLoad(t))
	written, err := os.ReadFile(scaleDocument)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(written), scaleBegin)
	tables, after, ends := strings.Cut(rest, scaleEnd)
	if !begins || !ends {
		t.Fatalf("%s does not have the lines %q and %q", scaleDocument, scaleBegin, scaleEnd)
	}
	if *update {
		tables = text
		if err := os.WriteFile(scaleDocument, []byte(before+scaleBegin+text+scaleEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(text, tables); diff != "" {
		t.Errorf("the document is stale; write it with go test ./tunnel -run TestScale -update (-calculated +written):\n%s", diff)
	}
}

// scaleTables are the tables of the document.
func scaleTables(c costs, l load) string {
	var b strings.Builder
	line := func(cells ...string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	fmt.Fprintf(&b, "Measured on %s; %s.\n\n", c.Machine, c.Kernel)
	line("input", "figure", "from")
	b.WriteString("|---|---|---|\n")
	for _, in := range []struct {
		what   string
		figure float64
		unit   string
		from   string
	}{
		{"datagrams that a server sends", c.answers, "per core and second", "measured, router advertisements to many clients in turn"},
		{"packets that a relay carries", c.packets, "per core and second", "measured, to 1,000,000 clients in turn"},
		{"new clients that a relay finds", c.found, "per core and second", "measured, with two packets each way"},
		{"memory of a relay", c.memory, "bytes per client", "measured, with 1,000,000 clients"},
		{"time between two solicitations", 1 / l.solicitations, "s", "simulated, a day of an idle client"},
		{"keep-alives, both ways", l.keepAlive, "bit/s per client", "simulated, with IPv4 and UDP headers"},
		{"datagrams that a server passes on", float64(l.contact), "per new native host", "simulated"},
		{"bubbles of a relay", float64(l.bubbles), "among them", "simulated"},
		{"clients that are active at a time", activeShare * 100, "%", "assumed"},
		{"IPv6 packets of an active client, both ways", activeRate, "bit/s", "assumed"},
		{"size of an IPv6 packet on average", packetSize, "bytes", "assumed"},
		{"time between two new native hosts of an active client", contactEvery, "s", "assumed"},
		{"cores of a host of a server or relay", hostCores, "", "assumed"},
		{"next hops of one route", nextHops, "", "assumed, of the routers"},
	} {
		line(in.what, strings.TrimSpace(quantity(in.figure)+" "+in.unit), in.from)
	}
	b.WriteString("\n")
	sites := []site{size(1e4, c, l), size(1e6, c, l), size(1e8, c, l)}
	line("clients", "10,000", "1,000,000", "100,000,000")
	b.WriteString("|---|---|---|---|\n")
	for _, row := range []struct {
		what string
		of   func(site) float64
	}{
		{"solicitations per second", func(s site) float64 { return s.solicitations }},
		{"keep-alives, Mbit/s", func(s site) float64 { return s.keepAlive / 1e6 }},
		{"datagrams that servers pass on, per second", func(s site) float64 { return s.passed }},
		{"cores for servers", func(s site) float64 { return s.serverCores }},
		{"servers, at least two", func(s site) float64 { return s.servers }},
		{"packets through relays, per second", func(s site) float64 { return s.packets }},
		{"traffic of relays, Gbit/s", func(s site) float64 { return s.traffic / 1e9 }},
		{"bubbles of relays, per second", func(s site) float64 { return s.found }},
		{"cores for relays", func(s site) float64 { return s.relayCores }},
		{"memory of all relays for clients, MiB", func(s site) float64 { return s.memory / (1 << 20) }},
		{"relays, at least two", func(s site) float64 { return s.relays }},
		{"BGP sessions, and as many of BFD", func(s site) float64 { return s.sessions }},
		{"sites, at least two", func(s site) float64 { return s.sites }},
	} {
		cells := []string{row.what}
		for _, s := range sites {
			cells = append(cells, quantity(row.of(s)))
		}
		line(cells...)
	}
	return b.String()
}

// quantity writes a number with three digits, and with commas between thousands.
func quantity(v float64) string {
	if v == math.Trunc(v) && v < 1000 {
		return fmt.Sprint(v)
	}
	if v < 100 {
		return fmt.Sprintf("%.3g", v)
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-2)
	s := fmt.Sprintf("%.0f", math.Round(v/unit)*unit)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
