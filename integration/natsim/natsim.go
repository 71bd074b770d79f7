// Package natsim is a simulated internet for tests: hosts, servers, relays, NATs of every kind of RFC 4787, links that
// delay, lose, reorder and duplicate, and a native IPv6 internet beside it. The programs in it are the ones that ship; only
// their sockets, TUN devices and clock are not real.
//
//	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
//		srv, relay := in.Server(), in.Relay()
//		client := in.NAT(natsim.PortRestricted()).Client(srv)
//		host := in.Native()
//		client.AwaitAddr(time.Second)
//		client.Send(host.Addr(), "hello")
//		got := host.Next(time.Second)
//	})
//
// Time is virtual (testing/synctest), so that minutes pass in milliseconds and every delay is exact. A run is
// deterministic: all chance comes from one seed, and things that happen at the same instant have a fixed order, which the
// scheduler has no influence on (see clock). A scenario therefore runs in one goroutine.
package natsim

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// Environment variables that replay or extend a run.
const (
	seedVariable  = "NATSIM_SEED"  // the one seed to use, in place of those that the tests name
	seedsVariable = "NATSIM_SEEDS" // how many seeds Seeds tries
)

// Internet is the simulated internet. Its Network is the public one, on which servers, relays and NATs have global
// addresses.
type Internet struct {
	*Network
	t       *testing.T
	seed    uint64
	started time.Time
	clock   *clock
	ids     int
	names   map[string]int // how many things of a kind there are
	native  *Network       // IPv6
	trace   trace
	rules   []*Rule
	streams []*Stream
	last    uint64 // identification of the last packet
	closers []func()
}

// Test runs a scenario with a seed, in a bubble of its own. When the scenario fails it prints the command that replays it,
// and where the packet trace is.
func Test(t *testing.T, seed uint64, scenario func(t *testing.T, in *Internet)) {
	t.Helper()
	if s, ok := fromEnvironment(t, seedVariable); ok {
		seed = s
	}
	synctest.Test(t, func(t *testing.T) { run(t, seed, synctest.Wait, scenario) })
}

// Live runs a scenario in real time, for programs with goroutines whose rest testing/synctest does not see: those of gVisor's TCP
// park themselves. It is not deterministic.
func Live(t *testing.T, seed uint64, scenario func(t *testing.T, in *Internet)) {
	t.Helper()
	run(t, seed, func() {}, scenario)
}

// run runs a scenario. rest waits until all goroutines have come to rest.
func run(t *testing.T, seed uint64, rest func(), scenario func(t *testing.T, in *Internet)) {
	in := newInternet(t, seed, rest)
	t.Cleanup(in.close)
	scenario(t, in)
}

// Seeds runs a scenario with each of the seeds 1 to n, as subtests.
func Seeds(t *testing.T, n uint64, scenario func(t *testing.T, in *Internet)) {
	t.Helper()
	first := uint64(1)
	if s, ok := fromEnvironment(t, seedVariable); ok {
		first, n = s, s
	} else if s, ok := fromEnvironment(t, seedsVariable); ok {
		n = s
	}
	for seed := first; seed <= n; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			Test(t, seed, scenario)
		})
	}
}

func fromEnvironment(t *testing.T, name string) (uint64, bool) {
	value := os.Getenv(name)
	if value == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		t.Fatalf("%s is not a number: %v", name, err)
	}
	return n, true
}

func newInternet(t *testing.T, seed uint64, rest func()) *Internet {
	in := &Internet{t: t, seed: seed, started: time.Now(), clock: newClock(rest), names: make(map[string]int)}
	in.Network = newNetwork(in, "public", publicPrefix())
	in.native = newNetwork(in, "native", nativePrefix())
	in.trace.started = in.started
	go in.clock.run()
	return in
}

// publicPrefix and nativePrefix have the addresses that are given out: ranges for benchmarks and for documentation.
func publicPrefix() netip.Prefix { return netip.MustParsePrefix("198.18.0.0/15") }
func nativePrefix() netip.Prefix { return netip.MustParsePrefix("2001:db8::/32") }

// Filter is the global unicast test in this internet: only its own public addresses are global.
func Filter() teredo.Filter { return teredo.Filter{Permit: []netip.Prefix{publicPrefix()}} }

// Now is the time since the scenario began.
func (in *Internet) Now() time.Duration { return time.Since(in.started) }

// Settle waits until all that happens at this instant has happened.
func (in *Internet) Settle() { in.clock.await(0, func() bool { return false }) }

// Logger returns a logger into the test's output.
func (in *Internet) logger(name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(in.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("host", name)
}

// id numbers the senders: at the same instant a lower number goes first. Each sender has a sequence of random numbers of its own.
func (in *Internet) id() int {
	in.ids++
	return in.ids
}

// source makes the sequence of random numbers that belongs to an id. Each thing has its own, so that one more packet on
// one link does not change the luck of another.
func (in *Internet) source(id int) *rand.ChaCha8 {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], in.seed)
	binary.BigEndian.PutUint64(seed[8:], uint64(id))
	return rand.NewChaCha8(seed)
}

// Rand returns random numbers for a scenario's own use.
func (in *Internet) Rand() *rand.Rand { return rand.New(in.source(0)) }

// do runs a change of the scenario.
func (in *Internet) do(f func()) { in.clock.do(0, nil, f) }

// close ends the programs and then the clock, and reports a failure.
func (in *Internet) close() {
	for _, stop := range in.closers {
		stop()
	}
	in.clock.close()
	if in.t.Failed() {
		in.report()
	}
}
