package traffic

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// zone has a summer time, which ends on 2026-10-25.
func zone(t *testing.T) *time.Location {
	t.Helper()
	z, err := time.LoadLocation("Europe/Helsinki")
	if err != nil {
		t.Skip("this system has no list of time zones: ", err)
	}
	return z
}

// rig is a host with a clock and counters.
type rig struct {
	t   *testing.T
	now time.Time
	Reading
	history History
}

func newRig(t *testing.T, at string) *rig {
	t.Helper()
	r := &rig{t: t, Reading: Reading{Boot: "boot", Namespace: "net", Uptime: time.Hour}}
	r.set(at)
	return r
}

// set sets the clock.
func (r *rig) set(at string) {
	r.t.Helper()
	now, err := time.ParseInLocation("2006-01-02 15:04", at, zone(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	r.now = now
}

// pass lets time pass.
func (r *rig) pass(d time.Duration) {
	r.now = r.now.Add(d)
	r.Uptime += d
}

func (r *rig) take() { r.history.Take(r.now, r.Reading) }

// reboot starts the host anew.
func (r *rig) reboot(boot string) {
	r.Boot, r.Uptime, r.Host, r.Tunnel = boot, 0, Host{}, Tunnel{}
	r.restart()
}

// restart starts the program anew.
func (r *rig) restart() {
	r.Tunnel = Tunnel{}
	text, err := json.Marshal(&r.history)
	if err != nil {
		r.t.Fatal(err)
	}
	r.history = History{}
	if err := json.Unmarshal(text, &r.history); err != nil {
		r.t.Fatal(err)
	}
	r.history.Check()
}

// want checks the days of the report.
func (r *rig) want(days ...Day) {
	r.t.Helper()
	got := r.history.Report(r.now)
	if diff := cmp.Diff(append([]Day{}, days...), got.Days); diff != "" {
		r.t.Errorf("at %v (-want +got):\n%s", r.now, diff)
	}
	today := Day{Date: r.now.Format(time.DateOnly)}
	for _, d := range days {
		if d.Date == today.Date {
			today = d
		}
	}
	if got.Today != today {
		r.t.Errorf("today is %+v, want %+v", got.Today, today)
	}
}

func day(date string, ipv4, ipv6, teredo uint64) Day { return Day{date, Bytes{ipv4, ipv6, teredo}} }

// What was counted before the first reading is nobody's day. After that, each byte counts once: not over the loopback interface, and
// Teredo's neither as IPv6 nor as IPv4.
func TestWhatCounts(t *testing.T) {
	r := newRig(t, "2026-11-28 12:00")
	r.Host = Host{IPv4: 1e9, IPv6: 1e9, Loopback: 1e6, Loopback6: 1e5}
	r.take()
	r.want()
	r.pass(time.Minute)
	const lo4, lo6, native, teredo, around, legacy = 600, 500, 4000, 30_000, 33_000, 200_000
	r.Host.IPv4 += lo4 + around + legacy
	r.Host.IPv6 += lo6 + native + teredo
	r.Host.Loopback += lo4 + lo6
	r.Host.Loopback6 += lo6
	r.Tunnel = Tunnel{Teredo: teredo, InIPv6: teredo, InIPv4: around}
	r.take()
	r.want(day("2026-11-28", legacy, native, teredo))
	// A tunnel in user space has no interface that the kernel could count at, and the kernel carries nothing of it.
	r.pass(time.Minute)
	r.Host.IPv4 += 1100
	r.Tunnel.Teredo += 1000
	r.Tunnel.InIPv4 += 1100
	r.take()
	r.want(day("2026-11-28", legacy, native, teredo+1000))
}

// Packets that are counted as Teredo's a moment before the kernel counts them are not taken out of what comes later, nor lost.
func TestCountersDoNotAgree(t *testing.T) {
	r := newRig(t, "2026-11-28 12:00")
	r.take()
	r.Tunnel = Tunnel{Teredo: 1000, InIPv6: 1000, InIPv4: 1100}
	r.take()
	r.want(day("2026-11-28", 0, 0, 1000))
	r.Host.IPv4, r.Host.IPv6 = 1100+70, 1000+30
	r.take()
	r.want(day("2026-11-28", 70, 30, 1000))
}

// A program that starts again goes on where the last one has ended, also when that was killed after its last writing: the kernel has
// gone on counting.
func TestRestart(t *testing.T) {
	r := newRig(t, "2026-11-28 12:00")
	r.take()
	r.Host.IPv4 = 500
	r.take()
	r.restart()
	r.Host.IPv4 = 800
	r.Tunnel = Tunnel{Teredo: 10, InIPv6: 10, InIPv4: 100}
	r.Host.IPv6 = 10
	r.take()
	r.want(day("2026-11-28", 700, 0, 10))
}

// After a boot all counters begin at zero, also when they are larger at once than they were before.
func TestReboot(t *testing.T) {
	r := newRig(t, "2026-11-28 12:00")
	r.take()
	r.Host.IPv4 = 500
	r.take()
	r.reboot("another")
	r.pass(time.Minute)
	r.Host.IPv4 = 900
	r.take()
	r.want(day("2026-11-28", 1400, 0, 0))
	// The same without a boot ID that would tell: the counter has wrapped.
	r.Host.IPv4 = 100
	r.take()
	r.want(day("2026-11-28", 1500, 0, 0))
}

// The counters of another network namespace say nothing about the time before.
func TestAnotherNamespace(t *testing.T) {
	r := newRig(t, "2026-11-28 12:00")
	r.take()
	r.Namespace, r.Host.IPv4 = "other", 1e12
	r.take()
	r.want()
	r.Host.IPv4 += 100
	r.take()
	r.want(day("2026-11-28", 100, 0, 0))
}

// What was counted between two readings is spread over the days between them, of 23 to 25 hours.
func TestSpread(t *testing.T) {
	r := newRig(t, "2026-11-28 23:58")
	r.take()
	r.pass(5 * time.Minute)
	r.Host.IPv4, r.Host.IPv6 = 1000, 10
	r.take()
	r.want(day("2026-11-28", 400, 4, 0), day("2026-11-29", 600, 6, 0))

	r = newRig(t, "2026-10-24 12:00")
	r.take()
	r.set("2026-10-26 12:00")
	r.Uptime += 49 * time.Hour
	r.Host.IPv4 = 4900
	r.take()
	r.want(day("2026-10-24", 1200, 0, 0), day("2026-10-25", 2500, 0, 0), day("2026-10-26", 1200, 0, 0))

	// The host was off for days: they have no traffic.
	r.reboot("another")
	r.set("2026-10-30 00:01")
	r.Uptime = 2 * time.Minute
	r.Host.IPv4 = 1000
	r.take()
	r.want(day("2026-10-24", 1200, 0, 0), day("2026-10-25", 2500, 0, 0), day("2026-10-26", 1200, 0, 0), day("2026-10-29", 500, 0, 0), day("2026-10-30", 500, 0, 0))
}

// Of a time that is longer than a history only the last part counts.
func TestLongAgo(t *testing.T) {
	r := newRig(t, "2026-05-01 00:00")
	r.take()
	r.pass(100 * 24 * time.Hour)
	r.Host.IPv4 = 10_000
	r.take()
	days := r.history.Report(r.now).Days
	if len(days) != MostDays || days[1].IPv4 != 100 || days[MostDays-2].IPv4 != 100 || days[MostDays-1].Date != "2026-08-09" {
		t.Errorf("%d days: %+v", len(days), days)
	}
}

// A clock that jumps makes and loses no bytes, and a day of the far past or future, in which it was for a moment, is not told of once it
// is right again.
func TestClockJumps(t *testing.T) {
	r := newRig(t, "2026-11-28 12:00")
	r.take()
	step := func(at string) {
		r.set(at)
		r.Uptime += time.Minute
		r.Host.IPv4 += 100
		r.take()
	}
	step("2026-11-28 12:01")
	step("1970-01-01 02:30")
	r.want(day("1970-01-01", 100, 0, 0))
	step("2038-01-19 03:14")
	r.want(day("2038-01-19", 100, 0, 0))
	step("2026-11-28 12:04")
	r.want(day("2026-11-28", 200, 0, 0))
	step("2026-11-27 12:04")
	r.want(day("2026-11-27", 100, 0, 0))
	step("2026-11-28 12:05")
	r.want(day("2026-11-27", 100, 0, 0), day("2026-11-28", 300, 0, 0))
	for date := time.Date(2026, 11, 29, 12, 0, 0, 0, zone(t)); date.Year() == 2026; date = date.AddDate(0, 0, 1) {
		step(date.Format("2006-01-02 15:04"))
	}
	if days := r.history.Report(r.now).Days; len(days) != MostDays || days[0].Date != "2026-12-02" || len(r.history.Days) != MostDays {
		t.Errorf("%d days from %s on, %d are kept", len(days), days[0].Date, len(r.history.Days))
	}
}

// Whatever happens, there are few days with dates of their own, and no byte counts twice.
func TestWhateverHappens(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		r := newRig(t, "2026-11-28 12:00")
		r.take()
		var counted uint64
		for range 300 {
			switch random.IntN(12) {
			case 0:
				r.reboot(fmt.Sprint(random.Uint32()))
			case 1:
				r.restart()
			case 2:
				r.now = r.now.Add(time.Duration(random.Int64N(int64(10000*time.Hour)) - int64(5000*time.Hour)))
			case 3:
				r.pass(time.Duration(random.Int64N(int64(1000 * time.Hour))))
			default:
				r.pass(time.Duration(random.Int64N(int64(10 * time.Minute))))
			}
			more := uint64(random.IntN(1e6))
			r.Host.IPv4 += more
			counted += more
			r.take()
			var total uint64
			seen := make(map[string]bool)
			for _, d := range r.history.Days {
				total += d.IPv4
				seen[d.Date] = true
			}
			if total > counted || len(seen) != len(r.history.Days) || len(seen) > MostDays {
				t.Fatalf("seed %d: %d bytes of %d, %d days, %d dates", seed, total, counted, len(r.history.Days), len(seen))
			}
			if report := r.history.Report(r.now); len(report.Days) > MostDays || report.Today.Date != r.now.Format(time.DateOnly) {
				t.Fatalf("seed %d: %+v", seed, report)
			}
		}
	}
}

// A file that somebody has changed does no harm.
func TestCheck(t *testing.T) {
	h := History{Days: []Day{day("2026-11-28", 1, 0, 0), day("today", 1, 0, 0), day("", 1, 0, 0), day("2026-11-28", 7, 0, 0)}}
	for i := range 100 {
		h.Days = append(h.Days, day(time.Date(2030, 1, i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly), 1, 0, 0))
	}
	h.Check()
	if len(h.Days) != MostDays {
		t.Errorf("%d days", len(h.Days))
	}
	h = History{Days: []Day{day("2026-11-28", 1, 0, 0), day("<script>", 1, 0, 0), day("2026-11-28", 7, 0, 0)}}
	h.Check()
	if diff := cmp.Diff([]Day{day("2026-11-28", 1, 0, 0)}, h.Days); diff != "" {
		t.Error(diff)
	}
}

func TestSummary(t *testing.T) {
	for _, test := range []struct {
		report Report
		text   string
		json   string
	}{
		{
			Report{day("2026-11-28", 620, 300, 80), []Day{day("2026-11-27", 1380, 1700, 920), day("2026-11-28", 620, 300, 80)}},
			"today: 62 % IPv4, 30 % native IPv6, 8 % Teredo (30 days: 40 % IPv4, 40 % native IPv6, 20 % Teredo)",
			`{"today":{"date":"2026-11-28","ipv4_bytes":620,"ipv6_bytes":300,"teredo_bytes":80},` +
				`"last_30_days":{"ipv4_bytes":2000,"ipv6_bytes":2000,"teredo_bytes":1000},"ipv6_percent":38,"ipv6_percent_30_days":60}`,
		},
		{
			Report{Today: day("2026-11-28", 0, 0, 0)}, "today: none (30 days: none)",
			`{"today":{"date":"2026-11-28","ipv4_bytes":0,"ipv6_bytes":0,"teredo_bytes":0},` +
				`"last_30_days":{"ipv4_bytes":0,"ipv6_bytes":0,"teredo_bytes":0},"ipv6_percent":0,"ipv6_percent_30_days":0}`,
		},
	} {
		s := test.report.Summary()
		if text, err := s.MarshalText(); err != nil || string(text) != test.text {
			t.Errorf("%q, %v; want %q", text, err, test.text)
		}
		text, err := json.Marshal(s)
		if err != nil || string(text) != test.json {
			t.Errorf("%s, %v", text, err)
		}
		var back Summary
		if err := json.Unmarshal(text, &back); err != nil || back != s {
			t.Errorf("%+v, %v; want %+v", back, err, s)
		}
	}
	// The three always add up, also where each half would be rounded up.
	if got, want := (Bytes{0, 505, 495}).String(), "0 % IPv4, 51 % native IPv6, 49 % Teredo"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
