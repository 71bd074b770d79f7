package cli

import (
	"net/netip"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	State    string            `json:"state"`
	Address  netip.Addr        `json:"address"`
	Mapped   netip.AddrPort    `json:"mapped"`
	Bind     []netip.Addr      `json:"bind"`
	Native   bool              `json:"native"`
	Error    string            `json:"last_error,omitempty"`
	Heard    float64           `json:"heard_seconds_ago"`
	RTT      float64           `json:"rtt_ms,omitzero"`
	Uptime   int64             `json:"uptime_seconds"`
	Since    time.Time         `json:"since"`
	Counters sampleCounters    `json:"counters"`
	Drops    map[string]uint64 `json:"drops"`
	Hidden   string            `json:"-"`
}

type sampleCounters struct {
	Sent  uint64            `json:"sent_packets"`
	Drops map[string]uint64 `json:"drops"`
}

func TestPrint(t *testing.T) {
	tests := map[string]struct {
		value any
		want  string
	}{
		"full": {
			sample{
				State: "qualified", Address: netip.MustParseAddr("2001:0:cb00:7178:0:efff:3fff:fdfe"),
				Mapped: netip.MustParseAddrPort("192.0.2.1:4096"),
				Bind:   []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")},
				Native: true, Error: "none really", Heard: 4.5, RTT: 34.2134, Uptime: 11000,
				Since:    time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
				Counters: sampleCounters{Sent: 12345, Drops: map[string]uint64{"malformed": 3, "loop": 1}},
			}, `
state           qualified
address         2001:0:cb00:7178:0:efff:3fff:fdfe
mapped          192.0.2.1:4096
bind            10.0.0.1, 10.0.0.2
native          yes
last error      none really
heard           4.5s ago
rtt             34.2ms
uptime          3h3m20s
since           2026-01-02T03:04:05Z
counters
  sent packets  12345
  drops
    loop        1
    malformed   3
drops           -
`,
		},
		"empty": {
			&sample{Heard: -1}, `
state           -
address         -
mapped          -
bind            -
native          no
heard           never
uptime          0s
since           -
counters
  sent packets  0
  drops         -
drops           -
`,
		},
		"table": {
			[]struct {
				Address  netip.Addr     `json:"address"`
				Endpoint netip.AddrPort `json:"endpoint"`
				Heard    float64        `json:"heard_seconds_ago"`
			}{
				{netip.MustParseAddr("2001:db8::1"), netip.AddrPort{}, -1},
				{netip.MustParseAddr("2001::1"), netip.MustParseAddrPort("192.0.2.1:4096"), 100000},
			}, `
ADDRESS      ENDPOINT        HEARD
2001:db8::1  -               never
2001::1      192.0.2.1:4096  1d3h ago
`,
		},
		"empty table": {[]sample{}, "\nnone\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := Print(&out, test.value); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), out.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Counts have rates where an earlier value is known, and colours say how things are.
func TestPrintAfterwards(t *testing.T) {
	type row struct {
		Address string `json:"address"`
		State   string `json:"state"`
		Bytes   uint64 `json:"sent_bytes"`
	}
	type whole struct {
		State string `json:"state"`
		Peers int    `json:"peers"`
		Error string `json:"last_error,omitempty"`
		Inner struct {
			Packets uint64 `json:"packets"`
		} `json:"inner"`
		Drops map[string]uint64 `json:"drops"`
	}
	status := func(state string, peers int, packets, loops uint64, reason string) (w whole) {
		w.State, w.Peers, w.Error, w.Inner.Packets, w.Drops = state, peers, reason, packets, map[string]uint64{"loop": loops}
		return w
	}
	first := status("starting", 1, 100, 1, "")
	first.Drops = nil
	for name, test := range map[string]struct {
		value, before any
		colours       bool
		want          string
	}{
		"section": {status("qualified", 9, 104, 7, ""), first, false, `
state      qualified
peers      9
inner
  packets  104 (2.0/s)
drops
  loop     7 (3.5/s)
`},
		"nothing new": {first, first, false, `
state      starting
peers      1
inner
  packets  100
drops      -
`},
		"started anew": {status("starting", 0, 50, 0, ""), status("qualified", 9, 100, 0, ""), false, `
state      starting
peers      0
inner
  packets  50
drops
  loop     0
`},
		"table": {[]row{{"b", "trusted", 3_000_000}, {"c", "idle", 7}}, []row{{"a", "trusted", 0}, {"b", "trusted", 1_000}}, false, `
ADDRESS  STATE    SENT BYTES
b        trusted  3000000 (1.5 MB/s)
c        idle     7
`},
		"colours": {status("qualified", 9, 1, 1, "silent"), nil, true, "\nstate       \x1b[32mqualified\x1b[0m\n" +
			"peers       9\nlast error  \x1b[31msilent\x1b[0m\ninner\n  packets   1\ndrops\n  loop      1\n"},
		"colours in a table": {[]row{{"b", "trusted", 1}, {"c", "searching", 2}, {"d", "idle", 3}, {"e", "failed", 4}}, nil, true, "\nADDRESS  STATE      SENT BYTES\n" +
			"b        \x1b[32mtrusted\x1b[0m    1\nc        \x1b[33msearching\x1b[0m  2\nd        idle       3\ne        \x1b[31mfailed\x1b[0m     4\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := printer{colours: test.colours, passed: 2 * time.Second}
			if test.before != nil {
				p.before = reflect.ValueOf(test.before)
			}
			var out strings.Builder
			if err := p.print(&out, test.value); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), out.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestQuantity(t *testing.T) {
	for n, want := range map[float64]string{0.25: "0.2 B", 9.94: "9.9 B", 9.96: "10 B", 999.4: "999 B", 999.6: "1.0 kB", 12_345_678: "12 MB", 5e13: "50000 GB"} {
		if got := quantity(n, " B", " kB", " MB", " GB"); got != want {
			t.Errorf("%v: %q, want %q", n, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                 "0s",
		34_213 * time.Microsecond:         "34.2ms",
		7_254 * time.Millisecond:          "7.25s",
		3*time.Hour + 12*time.Second + 70: "3h0m12s",
		24 * time.Hour:                    "1d0h",
		1000 * time.Hour:                  "41d16h",
	} {
		if got := duration(d); got != want {
			t.Errorf("duration(%d) = %q; want %q", d, got, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	build := func(version, commit, modified string) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: commit}, {Key: "vcs.modified", Value: modified},
		}}
	}
	tests := map[string]struct {
		linked string
		info   *debug.BuildInfo
		want   string
	}{
		"nothing known": {"", &debug.BuildInfo{}, "development build"},
		"devel":         {"", build("(devel)", "", ""), "development build"},
		"commit":        {"", build("(devel)", "0123456789abcdef", "false"), "development build, commit 0123456789ab"},
		"changed":       {"", build("v1.2.3", "0123456789abcdef", "true"), "v1.2.3, commit 0123456789ab with local changes"},
		"untagged":      {"", build("v0.0.0-20260102030405-0123456789ab", "0123456789abcdef", "false"), "v0.0.0-20260102030405-0123456789ab"},
		"linked":        {"v1.2.4", build("v1.2.3", "", ""), "v1.2.4"},
	}
	for name, test := range tests {
		if got := describe(test.linked, test.info); got != test.want {
			t.Errorf("%s: %q; want %q", name, got, test.want)
		}
	}
}
