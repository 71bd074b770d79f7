package qualify_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// serviceAddr is the Teredo address of the service port.
var serviceAddr = teredo.Address{Server: server1, Flags: 0x1234, Mapped: netip.MustParseAddrPort("203.0.113.5:50000")}.Addr()

// natWorld is a determination behind a NAT whose mappings live for a time after the last packet, with a server that
// answers at once.
type natWorld struct {
	t        *testing.T
	d        *qualify.Determination
	now      time.Time
	lifetime time.Duration

	mapping   netip.AddrPort // of the secondary port
	used      time.Time      // last packet through it
	silent    bool           // the server is gone
	lose      func(bubble int) bool
	asks      int             // solicitations from the secondary port
	bubbles   []time.Time     // of the present candidate
	intervals []time.Duration // how long the secondary port was silent before each first bubble
	progress  []string        // then
	service   netip.Addr
}

func newNATWorld(t *testing.T, lifetime time.Duration, change ...func(*qualify.Config)) *natWorld {
	t.Helper()
	cfg := qualify.Config{Server: server1, Server2: server2, Filter: lab(), Rand: seeded(1)}
	for _, f := range change {
		f(&cfg)
	}
	d, err := qualify.NewDetermination(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &natWorld{
		t: t, d: d, now: epoch, lifetime: lifetime, service: serviceAddr,
		mapping: netip.MustParseAddrPort("203.0.113.5:40000"), lose: func(int) bool { return false },
	}
}

// run lets the procedure come to its end.
func (w *natWorld) run() {
	w.t.Helper()
	var none, secondary teredo.Outbox
	w.d.Start(w.now, &secondary)
	w.carry(&none, &secondary)
	for range 1000 {
		if w.step() {
			return
		}
	}
	w.t.Fatalf("stuck: %s", w.d.Progress())
}

// step does what is due next, and reports whether the procedure has ended.
func (w *natWorld) step() bool {
	w.t.Helper()
	at, ok := w.d.Deadline()
	if ok == w.d.Ended() {
		w.t.Fatalf("deadline %t, ended %t", ok, w.d.Ended())
	}
	if !ok {
		return true
	}
	if at.Before(w.now) {
		w.t.Fatalf("deadline %v has passed", w.now.Sub(at))
	}
	w.now = at
	var service, secondary teredo.Outbox
	w.d.Tick(w.now, w.service, &service, &secondary)
	w.carry(&service, &secondary)
	return false
}

// carry takes what was sent through NAT and server, until nothing more comes of it.
func (w *natWorld) carry(service, secondary *teredo.Outbox) {
	w.t.Helper()
	for _, d := range service.Datagrams() {
		w.bubble(d)
	}
	for out := secondary; len(out.Datagrams()) > 0; {
		if n := len(out.Datagrams()); n > 1 {
			w.t.Fatalf("%d datagrams at once from the secondary port", n)
		}
		next := new(teredo.Outbox)
		w.solicitation(out.Datagrams()[0], next)
		out = next
	}
}

// solicitation answers what the secondary port sends, which must be router solicitations (C-INT-07).
func (w *natWorld) solicitation(d teredo.Datagram, out *teredo.Outbox) {
	w.t.Helper()
	var p teredo.Packet
	if err := p.Parse(d.Payload); err != nil {
		w.t.Fatal(err)
	}
	if _, err := teredo.ParseRouterSolicitation(p.IPv6); err != nil || d.Remote.Port() != teredo.Port {
		w.t.Fatalf("C-INT-07: the secondary port sends %x to %v", p.IPv6, d.Remote)
	}
	w.asks++
	if w.now.Sub(w.used) > w.lifetime {
		w.mapping = netip.AddrPortFrom(w.mapping.Addr(), w.mapping.Port()+1)
	}
	w.used, w.bubbles = w.now, nil
	if w.silent {
		return
	}
	b := teredo.AppendOrigin(teredo.AppendAuth(nil, p.Auth), w.mapping)
	w.arrive(d.Remote, teredo.AppendRouterAdvertisement(b, server1, teredo.Source(p.IPv6)), out)
}

// bubble passes on what the service port sends, which must be bubbles through the own server.
func (w *natWorld) bubble(d teredo.Datagram) {
	w.t.Helper()
	var p teredo.Packet
	if err := p.Parse(d.Payload); err != nil {
		w.t.Fatal(err)
	}
	dst := teredo.Destination(p.IPv6)
	if d.Remote != port3544(server1) || !teredo.IsBubble(p.IPv6) || teredo.Source(p.IPv6) != w.service || p.HasAuth || p.Origin.IsValid() {
		w.t.Fatalf("C-INT-08: the service port sends %x to %v", d.Payload, d.Remote)
	}
	if teredo.ServerOf(dst) != server1 || teredo.Mapped(dst) != w.mapping {
		w.t.Fatalf("C-INT-03: bubble to %v, whose mapping is not %v", dst, w.mapping)
	}
	if len(w.bubbles) == 0 {
		w.intervals = append(w.intervals, w.now.Sub(w.used))
		w.progress = append(w.progress, w.d.Progress())
	}
	w.bubbles = append(w.bubbles, w.now)
	if w.silent || w.lose(len(w.bubbles)) || w.now.Sub(w.used) > w.lifetime {
		return
	}
	w.used = w.now
	var service, secondary teredo.Outbox
	w.arrive(port3544(server1), append(teredo.AppendOrigin(nil, teredo.Mapped(w.service)), p.IPv6...), &secondary)
	w.carry(&service, &secondary)
}

func (w *natWorld) arrive(from netip.AddrPort, payload []byte, out *teredo.Outbox) {
	w.t.Helper()
	var p teredo.Packet
	if err := p.Parse(payload); err != nil {
		w.t.Fatal(err)
	}
	if err := w.d.Inbound(w.now, from, &p, out); err != nil {
		w.t.Fatal(err)
	}
}

func seconds(s ...float64) []time.Duration {
	var d []time.Duration
	for _, v := range s {
		d = append(d, time.Duration(v*float64(time.Second)))
	}
	return d
}

// C-INT-02..05, K-14, ST-C-04: the first three have answers that were worked out by hand.
func TestDetermination(t *testing.T) {
	for _, tt := range []struct {
		name       string
		lifetime   time.Duration
		candidates []time.Duration
		want       float64
	}{
		{"35 s", 35 * time.Second, seconds(60, 45, 37.5), 30},
		{"50 s", 50 * time.Second, seconds(60, 45, 52.5), 45},
		{"100 s", 100 * time.Second, seconds(60, 90, 105), 90},
		{"exactly the first candidate", 60 * time.Second, seconds(60, 90, 75), 60},
		{"shorter than the default", 20 * time.Second, seconds(60, 45, 37.5), 30},
		{"C-INT-08: longer than the maximum", time.Hour, seconds(60, 90, 105, 112.5, 116.25, 118.125), 118.125},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newNATWorld(t, tt.lifetime)
			w.run()
			if got := w.d.Interval(); got != seconds(tt.want)[0] {
				t.Errorf("interval %v, want %v s", got, tt.want)
			}
			if !slices.Equal(w.intervals, tt.candidates) {
				t.Errorf("candidates %v, want %v", w.intervals, tt.candidates)
			}
			if want := 2 + len(tt.candidates) - 1; w.asks != want { // C-INT-06
				t.Errorf("%d solicitations, want %d", w.asks, want)
			}
			if got := w.d.Progress(); got != "determined" {
				t.Errorf("Progress = %q", got)
			}
		})
	}
}

func TestDeterminationProgress(t *testing.T) {
	w := newNATWorld(t, 35*time.Second)
	if got, want := w.d.Progress(), "determining (candidate 1m0s)"; got != want {
		t.Errorf("Progress = %q, want %q", got, want)
	}
	w.silent = true
	var service, secondary teredo.Outbox
	w.d.Start(w.now, &secondary)
	w.carry(&service, &secondary)
	if got, want := w.d.Progress(), "determining (qualifying the secondary port)"; got != want {
		t.Errorf("Progress = %q, want %q", got, want)
	}
	w.silent = false
	for !w.step() {
	}
	want := []string{"determining (candidate 1m0s)", "determining (candidate 45s)", "determining (candidate 37.5s)"}
	if !slices.Equal(w.progress, want) {
		t.Errorf("Progress %q, want %q", w.progress, want)
	}
}

// Whatever is lost, the procedure ends, and never with an interval that the NAT does not stand.
func TestDeterminationAnyLoss(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := newNATWorld(t, 30*time.Second+time.Duration(r.Int64N(int64(120*time.Second))))
		loss := r.Float64()
		w.lose = func(int) bool { return r.Float64() < loss }
		w.run()
		if got := w.d.Interval(); got < 30*time.Second || got > w.lifetime || got > 2*time.Minute {
			t.Errorf("seed %d: interval %v, but mappings live %v", seed, got, w.lifetime)
		}
		if d := w.now.Sub(epoch); d > 20*time.Minute {
			t.Errorf("seed %d: it took %v", seed, d)
		}
	}
}

// C-INT-03: the bubble is repeated at most three times, 2 s apart, and any of the four counts.
func TestDeterminationRepeats(t *testing.T) {
	for lost := range 4 {
		w := newNATWorld(t, time.Hour)
		most := 0
		w.lose = func(bubble int) bool {
			most = max(most, bubble)
			return bubble <= lost
		}
		w.run()
		if got := w.d.Interval(); got != seconds(118.125)[0] || most != lost+1 {
			t.Errorf("%d lost: interval %v after %d bubbles", lost, got, most)
		}
	}
	w := newNATWorld(t, time.Hour)
	var times []time.Duration
	w.lose = func(int) bool {
		times = append(times, w.now.Sub(w.used))
		return true
	}
	w.run()
	if got := w.d.Interval(); got != 30*time.Second {
		t.Errorf("interval %v though every bubble was lost", got)
	}
	want := seconds(60, 62, 64, 66, 45, 47, 49, 51, 37.5, 39.5, 41.5, 43.5)
	if !slices.Equal(times, want) {
		t.Errorf("bubbles after %v of silence, want %v", times, want)
	}
}

func TestDeterminationEndsEarly(t *testing.T) {
	tests := []struct {
		name string
		at   int // step at which something happens
		what func(*natWorld)
		want string
	}{
		{"C-INT-01: the secondary port does not qualify", 0, func(w *natWorld) { w.silent = true },
			"ended early: server 192.0.2.1:3544 does not answer (3 attempts)"},
		{"C-INT-06: the server stops answering", 1, func(w *natWorld) { w.silent = true },
			"ended early: server 192.0.2.1:3544 has stopped answering (3 attempts)"},
		{"the service port loses its address", 0, func(w *natWorld) { w.service = netip.Addr{} },
			"ended early: the service port is not qualified any more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newNATWorld(t, time.Hour)
			if tt.at == 0 {
				tt.what(w)
			}
			steps := 0
			w.lose = func(int) bool {
				if steps++; tt.at == steps {
					tt.what(w)
				}
				return false
			}
			w.run()
			if got := w.d.Interval(); got != seconds([]float64{30, 60}[tt.at])[0] {
				t.Errorf("interval %v", got)
			}
			if got := w.d.Progress(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("Progress = %q, want %q", got, tt.want)
			}
		})
	}
}

// C-INT-06: a mapping that was lost gives a new secondary address, and the procedure goes on; bubble sees to the address.
func TestDeterminationNewMapping(t *testing.T) {
	w := newNATWorld(t, 35*time.Second)
	before := w.mapping
	w.run()
	if got := w.mapping.Port() - before.Port(); got != 3 { // one at the start, and two after failures
		t.Errorf("%d mappings", got)
	}
}

// Whatever comes to the secondary port may renew its mapping, so the silence begins anew.
func TestDeterminationInteraction(t *testing.T) {
	w := newNATWorld(t, time.Hour)
	var service, secondary teredo.Outbox
	w.d.Start(w.now, &secondary)
	w.carry(&service, &secondary)
	before, _ := w.d.Deadline()
	w.now = w.now.Add(10 * time.Second)
	secondary.Reset()
	w.arrive(netip.MustParseAddrPort("198.51.100.9:3544"), teredo.AppendBubble(nil, serviceAddr, serviceAddr, 255), &secondary)
	if after, _ := w.d.Deadline(); after != before.Add(10*time.Second) {
		t.Errorf("deadline %v, was %v", after.Sub(epoch), before.Sub(epoch))
	}
	if n := len(secondary.Datagrams()); n != 0 {
		t.Errorf("C-INT-08: %d datagrams in the silence", n)
	}
}

// Only the bubble that was sent, by way of the server, is a success.
func TestDeterminationForgedBubbles(t *testing.T) {
	w := newNATWorld(t, time.Hour)
	var fromService, secondary teredo.Outbox
	w.d.Start(w.now, &secondary)
	w.carry(&fromService, &secondary)
	w.now, _ = w.d.Deadline()
	w.d.Tick(w.now, w.service, &fromService, &secondary)
	secondaryAddr := teredo.Destination(fromService.Datagrams()[0].Payload)
	other := teredo.Address{Server: server1, Mapped: teredo.Mapped(secondaryAddr)}.Addr()

	deliver := func(from netip.AddrPort, payload []byte) {
		secondary.Reset()
		w.arrive(from, payload, &secondary)
	}
	for name, d := range map[string]teredo.Datagram{
		"another sender":       {Remote: netip.MustParseAddrPort("198.51.100.9:3544"), Payload: teredo.AppendBubble(nil, serviceAddr, secondaryAddr, 255)},
		"the secondary server": {Remote: port3544(server2), Payload: teredo.AppendBubble(nil, serviceAddr, secondaryAddr, 255)},
		"another source":       {Remote: port3544(server1), Payload: teredo.AppendBubble(nil, other, secondaryAddr, 255)},
		"another destination":  {Remote: port3544(server1), Payload: teredo.AppendBubble(nil, serviceAddr, other, 255)},
		"no bubble":            {Remote: port3544(server1), Payload: teredo.AppendEchoRequest(nil, serviceAddr, secondaryAddr, 1, 1, nil)},
	} {
		if deliver(d.Remote, d.Payload); w.d.Interval() != 30*time.Second || len(secondary.Datagrams()) != 0 {
			t.Errorf("%s: taken for the bubble", name)
		}
	}
	if deliver(port3544(server1), teredo.AppendBubble(nil, serviceAddr, secondaryAddr, 255)); w.d.Interval() != time.Minute {
		t.Error("the bubble itself does not count")
	}
}

// The secondary port qualifies as the service port does: with a secret, and with the cone phase.
func TestDeterminationRefusesConfig(t *testing.T) {
	if _, err := qualify.NewDetermination(qualify.Config{}); err == nil {
		t.Error("accepted a configuration without a server")
	}
	d, err := qualify.NewDetermination(qualify.Config{Server: server1, Filter: lab(), ClientID: []byte("client1"), Secret: []byte("teredo-secret")})
	if err != nil {
		t.Fatal(err)
	}
	var out teredo.Outbox
	d.Start(epoch, &out)
	var p teredo.Packet
	if err := p.Parse(out.Datagrams()[0].Payload); err != nil || string(p.Auth.ClientID) != "client1" || len(p.Auth.Value) != 20 {
		t.Errorf("solicitation %+v, error %v", p.Auth, err)
	}
}

// C-MNT-05: the interval in use changes with the result.
func TestSetInterval(t *testing.T) {
	within := func(t *testing.T, w *world, interval time.Duration) {
		t.Helper()
		heard := w.status().LastHeard
		w.answer(w.single(w.tick()), mapped)
		if silent := w.now.Sub(heard); silent < interval*3/4 || silent > interval {
			t.Errorf("refresh after %v, want 75 to 100 %% of %v", silent, interval)
		}
	}
	t.Run("longer, then shorter", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		w.m.SetInterval(90 * time.Second)
		within(t, w, 90*time.Second)
		within(t, w, 90*time.Second)
		w.m.SetInterval(30 * time.Second)
		within(t, w, 30*time.Second)
	})
	t.Run("shorter than what has passed", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		w.now = w.now.Add(20 * time.Second)
		w.m.SetInterval(10 * time.Second)
		w.single(w.tickNow())
	})
	t.Run("the exchange under way goes on", func(t *testing.T) {
		w := newWorld(t)
		s := w.start()
		before, _ := w.m.Deadline()
		w.m.SetInterval(90 * time.Second)
		if after, _ := w.m.Deadline(); after != before {
			t.Errorf("deadline %v, was %v", after, before)
		}
		w.answer(w.single(w.answer(s, mapped)), mapped)
		within(t, w, 90*time.Second)
	})
	t.Run("bounded", func(t *testing.T) {
		for interval, want := range map[time.Duration]time.Duration{0: qualify.MinInterval, time.Hour: qualify.MaxInterval} {
			w := newWorld(t)
			w.qualify(mapped)
			w.m.SetInterval(interval)
			within(t, w, want)
		}
	})
}
