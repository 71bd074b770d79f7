package portmap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/internal/mapport"
)

// testKeeper is a keeper that asks the fake.
func testKeeper(t *testing.T, f *fake) *Keeper {
	k := NewKeeper(f.route, filepath.Join(t.TempDir(), "client.portmap"), slog.New(slog.DiscardHandler))
	k.timeouts = timeouts{search: time.Minute, attempt: time.Minute, remove: time.Minute}
	return k
}

// speakAll makes the fake speak the protocols of a list.
func (f *fake) speakAll(protocols string) (pcp *exchanges) {
	if strings.Contains(protocols, "upnp") {
		f.speakUPnP(ip1)
	}
	answers := make(map[string][][]byte)
	if strings.Contains(protocols, "pcp") {
		answers["0200"], answers["0201"] = [][]byte{unhex(f.t, pcpAnnounced)}, [][]byte{unhex(f.t, pcpMapped)}
	}
	if strings.Contains(protocols, "nat-pmp") {
		answers["0000"], answers["0001"] = [][]byte{unhex(f.t, natpmpAddress)}, [][]byte{unhex(f.t, natpmpMapped)}
	}
	return f.script(answers)
}

// UPnP goes before PCP, and PCP before NAT-PMP; only the one that is chosen makes a mapping.
func TestPreference(t *testing.T) {
	for protocols, want := range map[string]string{
		"upnp pcp nat-pmp": "upnp", "pcp nat-pmp": "pcp", "nat-pmp": "nat-pmp", "upnp nat-pmp": "upnp", "none": "",
	} {
		t.Run(protocols, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			e := f.speakAll(protocols)
			k := testKeeper(t, f)
			if !strings.Contains(protocols, "upnp") {
				k.timeouts.search = 2 * time.Second
			}
			_, m, err := k.make(within(t, time.Minute), f.gateway())
			if m.Protocol != want || (err == nil) != (want != "") {
				t.Errorf("mapping %v, %v", m, err)
			}
			for first, protocol := range map[byte]string{pcpVersion: "pcp", natpmpVersion: "nat-pmp"} {
				for _, request := range e.requests() {
					if request[0] == first && request[1] == pcpMap && protocol != want {
						t.Errorf("a mapping was asked for by %s", protocol)
					}
				}
			}
			if made := len(f.mappings()) > 0; made != (want == "upnp") {
				t.Errorf("mapped by UPnP: %v", made)
			}
			if err != nil && (!strings.Contains(err.Error(), "upnp: ") || !strings.Contains(err.Error(), "nat-pmp: ")) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Start to end with a gateway that speaks UPnP. The file is there exactly as long as the mapping (X-UPNP-01, X-UPNP-09).
func TestKeep(t *testing.T) {
	f := newFake(t)
	f.speakAll("upnp pcp nat-pmp")
	k := testKeeper(t, f)
	ctx, stop := context.WithCancel(within(t, time.Minute))
	k.Keep(ctx, mapport.Request{Server: f.addr, Local: f.gateway().internal, Changed: func(external netip.AddrPort, protocol string) {
		if protocol != "upnp" || external.String() != "198.51.100.7:40000" {
			t.Errorf("told of %v by %q", external, protocol)
		}
		if got := f.mappings()["40000"]; got != "127.0.0.1:40000" {
			t.Errorf("the gateway's mapping is %q", got)
		}
		if l, err := openJournal(k.journal.path); err != nil || len(l.records) != 1 {
			t.Errorf("recorded: %v, %v", l.records, err)
		}
		stop()
	}})
	if got := f.mappings(); len(got) != 0 {
		t.Errorf("the gateway keeps %v", got)
	}
	if _, err := os.Stat(k.journal.path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

// X-UPNP-01: the mapping of a killed run is removed before a new one is made; that of another device with the same
// address is left alone.
func TestStale(t *testing.T) {
	for _, device := range []string{"uuid:1", "uuid:2"} {
		t.Run(device, func(t *testing.T) {
			f := newFake(t)
			f.speakUPnP(ip1)
			f.mapped["39999"] = "127.0.0.1:39999"
			k := testKeeper(t, f)
			stale := record{Protocol: "upnp", Gateway: f.addr, Device: device, Internal: netip.MustParseAddrPort("127.0.0.1:39999")}
			if err := k.journal.add(stale); err != nil {
				t.Fatal(err)
			}
			k = NewKeeper(f.route, k.journal.path, k.log)
			if _, _, err := k.make(within(t, time.Minute), f.gateway()); err != nil {
				t.Fatal(err)
			}
			want, records := map[string]string{"40000": "127.0.0.1:40000"}, 1
			if device != "uuid:1" {
				want["39999"], records = "127.0.0.1:39999", 2
			}
			if diff := cmp.Diff(want, f.mappings()); diff != "" {
				t.Errorf("the gateway's table (-want +got):\n%s", diff)
			}
			if len(k.journal.records) != records {
				t.Errorf("recorded: %v", k.journal.records)
			}
		})
	}
}

// scripted is a service whose answers are up to the test.
type scripted struct {
	gateway netip.Addr
	port    uint16
	added   func(ctx context.Context) (Mapping, error)
	removed func(ctx context.Context, r record) error
}

func (s *scripted) record() record {
	return record{Protocol: "x", Gateway: s.gateway, Internal: netip.AddrPortFrom(inside.Addr(), s.port)}
}
func (s *scripted) add(ctx context.Context) (Mapping, error)   { return s.added(ctx) }
func (s *scripted) remove(ctx context.Context, r record) error { return s.removed(ctx, r) }

// play is a scenario in virtual time, with a gateway that is scripted.
type play struct {
	*scripted
	t     *testing.T
	k     *Keeper
	start time.Time

	mu       sync.Mutex
	events   []string   // what happened, and when
	router   netip.Addr // toward the server
	external string
	lease    time.Duration
	err      error // of add
	silence  error // of the search
	hang     bool  // remove never comes back by itself
}

var (
	home   = netip.MustParseAddr("192.168.1.1")
	server = netip.MustParseAddr("192.0.2.1")
	inside = netip.MustParseAddrPort("192.168.1.2:40000")
)

func newPlay(t *testing.T) *play {
	p := &play{t: t, start: time.Now(), router: home, external: "198.51.100.7:40000"}
	p.scripted = &scripted{gateway: home, port: inside.Port(),
		added: func(context.Context) (Mapping, error) {
			p.note("add")
			p.mu.Lock()
			defer p.mu.Unlock()
			return Mapping{Protocol: "x", External: netip.MustParseAddrPort(p.external), Lease: p.lease}, p.err
		},
		removed: func(ctx context.Context, r record) error {
			p.note(fmt.Sprintf("remove %d", r.Internal.Port()))
			if p.hang {
				<-ctx.Done()
			}
			return ctx.Err()
		},
	}
	p.k = NewKeeper(p.route, filepath.Join(t.TempDir(), "client.portmap"), slog.New(slog.DiscardHandler))
	p.k.protocols = []protocol{{"x", func(context.Context, gateway) (service, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.scripted, p.silence
	}}}
	return p
}

func (p *play) route(netip.Addr) (netip.Addr, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.router, p.router.IsValid()
}

// set changes the script.
func (p *play) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *play) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, time.Since(p.start).String()+" "+what)
}

// run keeps the mapping until the script ends.
func (p *play) run(script func()) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.k.Keep(ctx, mapport.Request{Server: server, Local: inside, Changed: func(external netip.AddrPort, protocol string) {
			if external.IsValid() {
				p.note("told " + external.String())
			} else {
				p.note("told of none" + protocol)
			}
		}})
		p.note("end")
	}()
	synctest.Wait()
	script()
	stop()
	<-ended
}

func (p *play) want(events ...string) {
	p.t.Helper()
	if diff := cmp.Diff(events, p.events); diff != "" {
		p.t.Errorf("events (-want +got):\n%s", diff)
	}
}

func (p *play) wantRecords(n int) {
	p.t.Helper()
	if l, err := openJournal(p.k.journal.path); err != nil || len(l.records) != n {
		p.t.Errorf("%d records, %v, want %d", len(l.records), err, n)
	}
}

// A mapping is renewed when half of its time is over, a permanent one too; changes are told, and nothing else.
func TestRenewal(t *testing.T) {
	for name, test := range map[string]struct {
		lease, after time.Duration
	}{
		"ordinary":  {40 * time.Minute, 20 * time.Minute},
		"long":      {100 * 365 * 24 * time.Hour, 30 * time.Minute},
		"short":     {time.Second, 30 * time.Second},
		"permanent": {0, 30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlay(t)
				p.lease = test.lease
				p.run(func() {
					time.Sleep(test.after)
					synctest.Wait()
					p.set(func() { p.external = "198.51.100.8:40000" })
					time.Sleep(test.after)
					synctest.Wait()
					p.wantRecords(1)
				})
				once, twice := test.after.String(), (2 * test.after).String()
				p.want("0s add", "0s told 198.51.100.7:40000", once+" add", twice+" add", twice+" told 198.51.100.8:40000",
					twice+" remove 40000", twice+" end")
				p.wantRecords(0)
			})
		})
	}
}

// A gateway that falls silent is asked again in ever shorter intervals, and believed until the mapping's time is over.
func TestRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t)
		p.lease = 4 * time.Minute
		p.run(func() {
			p.set(func() { p.err, p.silence = errors.New("no answer"), errors.New("no answer") })
			time.Sleep(5 * time.Minute)
			p.set(func() { p.err, p.silence = nil, nil })
			time.Sleep(time.Minute)
		})
		p.want("0s add", "0s told 198.51.100.7:40000",
			"2m0s add", "3m0s add", "3m30s add", "4m0s add", "4m0s told of none", "5m30s add", "5m30s told 198.51.100.7:40000", "6m0s remove 40000", "6m0s end")
	})
}

// A gateway that refuses to renew, or that has been asked to remove what it may have renewed, has no mapping any more.
func TestRenewalRefused(t *testing.T) {
	for _, err := range []error{refusal{"no"}, errors.New("no answer")} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlay(t)
			p.lease = 4 * time.Minute
			p.run(func() {
				p.set(func() { p.err = err })
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				p.wantRecords(0)
			})
			if last := p.events[len(p.events)-2]; last != "2m0s told of none" {
				t.Errorf("%v: events %q", err, p.events)
			}
		})
	}
}

// Without a gateway that maps ports, the first result comes, and the question is asked again now and then.
func TestNoMapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t)
		p.err = refusal{"no"}
		p.run(func() { time.Sleep(40 * time.Minute) })
		p.want("0s add", "0s told of none", "30s add", "1m30s add", "3m30s add", "7m30s add", "15m30s add", "25m30s add", "35m30s add", "40m0s end")
		p.wantRecords(0)
	})
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t)
		p.router = netip.Addr{}
		p.run(func() {
			p.set(func() { p.router = home })
			time.Sleep(time.Minute)
		})
		p.want("0s told of none", "30s add", "30s told 198.51.100.7:40000", "1m0s remove 40000", "1m0s end")
	})
}

// When the gateway's answer is no refusal, it may have made the mapping.
func TestUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t)
		p.err = errors.New("no answer")
		p.run(func() {})
		p.want("0s add", "0s remove 40000", "0s told of none", "0s end")
		p.wantRecords(0)
	})
}

// A gateway that hangs delays the end by no more than a second, and the next run removes what this one could not.
func TestHangingGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t)
		p.hang = true
		p.run(func() {})
		p.want("0s add", "0s told 198.51.100.7:40000", "0s remove 40000", "1s end")
		p.wantRecords(1)
		next := newPlay(t)
		next.k.journal = p.k.journal
		next.port = 40001
		next.run(func() {})
		next.want("0s remove 40000", "0s add", "0s told 198.51.100.7:40000", "0s remove 40001", "0s end")
		next.wantRecords(0)
	})
}

// Many stale mappings at a hanging gateway cannot hold up the end.
func TestHangingStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t)
		p.hang = true
		for n := range uint16(mostRecords) {
			r := testRecord(n)
			r.Protocol, r.Gateway = "x", home
			if err := p.k.journal.add(r); err != nil {
				t.Fatal(err)
			}
		}
		p.run(func() { time.Sleep(1500 * time.Millisecond) })
		if last := p.events[len(p.events)-1]; last != "1.5s end" {
			t.Errorf("events %q", p.events)
		}
	})
}

// A host that has moved does not ask the gateway of the other network to remove anything. The record stays for its return.
func TestMovedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t)
		p.run(func() {
			p.set(func() { p.router = netip.MustParseAddr("10.0.0.1") })
		})
		p.want("0s add", "0s told 198.51.100.7:40000", "0s end")
		p.wantRecords(1)
	})
}

// An end while the gateway is asked is not told of.
func TestEndWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t)
		p.added = func(ctx context.Context) (Mapping, error) {
			p.note("add")
			<-ctx.Done()
			return Mapping{}, ctx.Err()
		}
		p.run(func() { time.Sleep(time.Second) })
		p.want("0s add", "1s remove 40000", "1s end")
		p.wantRecords(0)
	})
}

// What a person reads about a gateway that maps no port, once; who debugs reads what each protocol said.
func TestReport(t *testing.T) {
	const none = `level=INFO msg="no gateway here maps ports"`
	silent := errors.New("no answer: context deadline exceeded")
	for name, test := range map[string]struct {
		upnp, pcp, natpmp error
		want, details     string
	}{
		"nobody answers": {silent, silent, silent, none,
			"upnp: no answer: context deadline exceeded; pcp: no answer: context deadline exceeded; nat-pmp: no answer: context deadline exceeded"},
		"UPnP refuses": {fmt.Errorf("AddPortMapping: %w", refusal{`error 718 "ConflictInMappingEntry"`}), silent, silent,
			`level=INFO msg="the gateway refuses to map a port" reason="error 718 \"ConflictInMappingEntry\""`, "718"},
		"NAT-PMP refuses": {silent, errOnlyNATPMP, refusal{"not authorized"},
			`level=INFO msg="the gateway refuses to map a port" reason="not authorized"`, "pcp: the gateway speaks NAT-PMP instead; nat-pmp: the gateway refuses: not authorized"},
		"another version": {silent, errOnlyNATPMP, silent, none, "the gateway speaks NAT-PMP instead"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			k := testKeeper(t, f)
			var log strings.Builder
			k.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
			for i, err := range []error{test.upnp, test.pcp, test.natpmp} {
				k.protocols[i].find = func(context.Context, gateway) (service, error) { return nil, err }
			}
			for range 2 {
				_, _, err := k.make(t.Context(), f.gateway())
				k.report(err)
			}
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if len(lines) != 4 || lines[0] != test.want || lines[2] != strings.Replace(test.want, "INFO", "DEBUG", 1) {
				t.Errorf("log %q, want %q first, and later for who debugs", lines, test.want)
			}
			if !strings.Contains(lines[1], "level=DEBUG") || !strings.Contains(lines[1], test.details) {
				t.Errorf("details %q, want %q", lines[1], test.details)
			}
		})
	}
}
