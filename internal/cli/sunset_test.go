package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

// servingRun is the run command of a program that serves others.
type servingRun struct {
	Serve IPv6Prefixes
	SunsetFlags
	RunFlags
}

func (r *servingRun) Run(ctx context.Context, k *kong.Kong) error {
	if _, err := r.Sunset.Context(ctx, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	fmt.Fprintln(k.Stdout, r.Serve, r.Sunset)
	return nil
}

func callServing(t *testing.T, args string) (code int, stdout, stderr string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs strings.Builder
	commands := new(struct {
		Run servingRun `cmd:""`
	})
	code = program().run(ctx, nil, commands, strings.Fields(args), &out, &errs)
	return code, out.String(), errs.String()
}

func TestServingFlags(t *testing.T) {
	tests := map[string]struct{ args, want string }{
		"defaults":           {"", "[] 0001-01-01T00:00:00Z"},
		"a date":             {"--sunset 2999-12-31", "[] 2999-12-31T00:00:00Z"},
		"a date and time":    {"--sunset 2999-12-31T12:00:00Z", "[] 2999-12-31T12:00:00Z"},
		"another time zone":  {"--sunset 2999-12-31T01:30:00+02:00", "[] 2999-12-30T23:30:00Z"},
		"a string in a file": {"--config " + writeFile(t, `sunset = "2999-12-31"`), "[] 2999-12-31T00:00:00Z"},
		"a date in a file":   {"--config " + writeFile(t, `sunset = 2999-12-31`), "[] 2999-12-31T00:00:00Z"},
		"a time in a file":   {"--config " + writeFile(t, `sunset = 2999-12-31T12:00:00+01:00`), "[] 2999-12-31T11:00:00Z"},
		"ranges":             {"--serve 2001:db8::/32,fd00::/8 --serve ::/0", "[2001:db8::/32 fd00::/8 ::/0] 0001-01-01T00:00:00Z"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := callServing(t, "run "+test.args)
			if code != 0 || stdout != test.want+"\n" || stderr != "" {
				t.Errorf("exit code %d, output %q, errors %q; want 0 and %q", code, stdout, stderr, test.want)
			}
		})
	}
}

func TestServingMistakes(t *testing.T) {
	local := writeFile(t, `sunset = 2999-12-31T12:00:00`)
	tests := map[string]struct{ args, want string }{
		"sunset is past (SUN-04)": {"--sunset 2020-02-29", "service has ended at sunset, 2020-02-29T00:00:00Z: to serve again, change --sunset or leave it out"},
		"no date":                 {"--sunset soon", `--sunset: "soon" is no date such as 2030-12-31, nor a date and time such as 2030-12-31T12:00:00Z`},
		"no such date":            {"--sunset 2999-02-29", `--sunset: "2999-02-29" is no date`},
		"no time zone":            {"--config " + local, "configuration file " + local + `: sunset: "2999-12-31T12:00:00" is no date`},
		"no range":                {"--serve 2001:db8::x", `--serve: "2001:db8::x" is not an IPv6 range in CIDR form, such as 2001:db8::/32`},
		"address alone":           {"--serve 2001:db8::1", `--serve: 2001:db8::1 has no prefix length: write 2001:db8::1/128 for this one address`},
		"host bits":               {"--serve 2001:db8::1/32", `--serve: 2001:db8::1/32 has bits set beyond its prefix length: write 2001:db8::/32`},
		"IPv4 range":              {"--serve 10.0.0.0/8", `--serve: 10.0.0.0/8 is an IPv4 range, and IPv6 ranges are needed`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := callServing(t, "run "+test.args)
			if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "teredo-test: "+test.want) {
				t.Errorf("exit code %d, output %q, errors %q; want 64 and %q", code, stdout, stderr, test.want)
			}
		})
	}
}

// recorder is a log whose lines have the time since the start of the test.
func recorder(start time.Time) (*slog.Logger, func() []string) {
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.String("at", a.Value.Time().Sub(start).String())
		}
		return a
	}}))
	return log, func() []string { return strings.Split(strings.TrimSpace(text.String()), "\n") }
}

// SUN-03, SUN-04: the log tells of the sunset at the start and on each of the last 30 days; then service ends.
func TestSunset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		log, lines := recorder(start)
		const day = 24 * time.Hour
		sunset := Sunset{start.Add(40*day + 90*time.Minute)}
		ctx, err := sunset.Context(t.Context(), log)
		if err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		if got := time.Since(start); got != 40*day+90*time.Minute {
			t.Errorf("service ended after %v", got)
		}
		synctest.Wait()
		at := `sunset=2000-02-10T01:30:00Z`
		want := []string{`at=0s level=INFO msg="service ends at sunset" ` + at + ` days=41`}
		for days := 30; days > 0; days-- {
			// An hour is how often it looks, so the notice comes within an hour of its moment.
			notice := time.Duration(40-days)*day + 2*time.Hour
			want = append(want, fmt.Sprintf(`at=%v level=WARN msg="service ends soon" %s days=%d`, notice, at, days))
		}
		want = append(want, fmt.Sprintf(`at=%v level=WARN msg="service ends now, as announced" %s`, 40*day+90*time.Minute, at))
		if diff := cmp.Diff(want, lines()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Started in the last days, the first notice is of the grave kind.
func TestSunsetSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := recorder(time.Now())
		ctx, err := Sunset{time.Now().Add(time.Minute)}.Context(t.Context(), log)
		if err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		synctest.Wait()
		want := []string{
			`at=0s level=WARN msg="service ends soon" sunset=2000-01-01T00:01:00Z days=1`,
			`at=1m0s level=WARN msg="service ends now, as announced" sunset=2000-01-01T00:01:00Z`,
		}
		if diff := cmp.Diff(want, lines()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// The wall clock decides, which may jump while timers do not: a host sleeps, or its clock is set.
func TestSunsetAfterJump(t *testing.T) {
	for name, test := range map[string]struct{ jump, want time.Duration }{
		"past sunset":   {1000 * time.Hour, time.Hour},
		"before sunset": {49*time.Hour + 30*time.Minute, 50*time.Hour + 30*time.Minute},
		"back":          {-10 * time.Hour, 110 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				now := func() time.Time {
					if time.Since(start) > 30*time.Minute {
						return time.Now().Add(test.jump)
					}
					return time.Now()
				}
				ctx, err := Sunset{start.Add(100 * time.Hour)}.context(t.Context(), slog.New(slog.DiscardHandler), now)
				if err != nil {
					t.Fatal(err)
				}
				<-ctx.Done()
				if got := time.Since(start); got != test.want {
					t.Errorf("service ended after %v, want %v", got, test.want)
				}
			})
		})
	}
}

// Before sunset a program is stopped as ever, and without one nothing changes.
func TestSunsetStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := recorder(time.Now())
		stopped, stop := context.WithCancel(t.Context())
		ctx, err := Sunset{time.Now().Add(time.Hour)}.Context(stopped, log)
		if err != nil {
			t.Fatal(err)
		}
		stop()
		<-ctx.Done()
		synctest.Wait()
		if got := lines(); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "now") }) {
			t.Errorf("log %q", got)
		}
		if ctx, err := (Sunset{}).Context(t.Context(), log); ctx != t.Context() || err != nil {
			t.Errorf("%v %v, want the same context", ctx, err)
		}
	})
}

// SUN-03: how status tells of the sunset.
func TestSunsetInStatus(t *testing.T) {
	type status struct {
		State  string `json:"state"`
		Sunset Sunset `json:"sunset,omitzero"`
	}
	for date, want := range map[string]struct{ text, json string }{
		"2030-12-31T12:00:00Z": {"state   serving\nsunset  2030-12-31T12:00:00Z\n", `{"state":"serving","sunset":"2030-12-31T12:00:00Z"}`},
		"":                     {"state  serving\n", `{"state":"serving"}`},
	} {
		s := status{State: "serving"}
		if date != "" {
			if err := s.Sunset.UnmarshalText([]byte(date)); err != nil {
				t.Fatal(err)
			}
		}
		var text strings.Builder
		if err := Print(&text, s); err != nil || text.String() != want.text {
			t.Errorf("%q %v, want %q", text.String(), err, want.text)
		}
		b, err := json.Marshal(s)
		if err != nil || string(b) != want.json {
			t.Errorf("%s %v, want %s", b, err, want.json)
		}
		var back status
		if err := json.Unmarshal(b, &back); err != nil || !back.Sunset.Equal(s.Sunset.Time) {
			t.Errorf("%v %v, want %v", back.Sunset, err, s.Sunset)
		}
	}
}
