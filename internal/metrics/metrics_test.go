package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/proxy"
	teredoserver "github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/internal/traffic"
	"github.com/teredo-suite/teredo/tunnel"
)

// everything has what some series are missing without.
const everything = `"server_rtt_ms":1,"server_heard_seconds_ago":1,"relay":{},"proxy":{},"traffic":{"today":{"ipv4_bytes":0,"ipv6_bytes":0,"teredo_bytes":0}}`

// gather returns the values of a program's own metrics with this status, by name and labels.
func gather(t *testing.T, program, status string) map[string]float64 {
	t.Helper()
	registry, err := NewRegistry(program, "v1", func(context.Context) (any, error) { return json.RawMessage(status), nil })
	if err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
			}
			if strings.HasPrefix(name, prefix) {
				values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return values
}

func TestValues(t *testing.T) {
	for _, test := range []struct {
		program, status string
		want            map[string]float64
		absent          []string
	}{
		{"client", `{"state":"qualified","address":"2001::1","mapped":"192.0.2.1:4","nat":"symmetric","port_mapping":"UPnP 192.0.2.1:4",
			"server_rtt_ms":12.5,"server_heard_seconds_ago":0,"server_silent_seconds":3,"sent_packets":18014398509481984,
			"drops":{"no-path":7},"budgets":{"ports":2},"queues":{"stack":5},"offloads":{"kernel_path":true,"kernel_flows":9,"udp_gso":true}}`,
			map[string]float64{
				"state state=qualified": 1, "state state=offline": 0, "address_configured": 1, "mapped": 1, "nat kind=symmetric": 1, "nat kind=none": 0,
				"port_mapping": 1, "server_rtt_seconds": 0.0125, "server_heard_age_seconds": 0, "server_silent_seconds": 3, "sent_packets_total": 1 << 54,
				"drops_total reason=no-path": 7, "drops_total reason=loop": 0, "budget_exhausted_total budget=ports": 2, "queued_packets queue=stack": 5,
				"queued_packets queue=server": 0, "kernel_path": 1, "kernel_flows": 9, "offload offload=udp_gso": 1, "offload offload=udp_gro": 0,
			}, nil},
		{"client", `{"state":"initial","address":"","mapped":"","nat":"unknown","port_mapping":"none","server_rtt_ms":0,"server_heard_seconds_ago":-1}`,
			map[string]float64{"state state=initial": 1, "address_configured": 0, "mapped": 0, "port_mapping": 0, "server_silent_seconds": 0, "peers kind=sought": 0},
			[]string{"server_rtt_seconds", "server_heard_age_seconds", "host_traffic_today_bytes protocol=ipv4"}},
		{"proxy", `{"state":"qualified","proxy":{"connections":{"socks":2},"connections_total":{"socks":9,"x":1},"refused":{"credentials":3},
			"sent_bytes":4,"received_bytes":5}}`,
			map[string]float64{
				"state state=qualified": 1, "proxy_connections kind=socks": 2, "proxy_connections_total kind=socks": 9, "proxy_connections_total kind=http": 0,
				"proxy_refused_total reason=credentials": 3, "proxy_refused_total reason=idle": 0, "proxy_sent_bytes_total": 4, "proxy_received_bytes_total": 5,
			}, nil},
		{"relay", `{"state":"draining","announced":false,"withdrawn_reason":"draining"}`, map[string]float64{
			"state state=draining": 1, "state state=running": 0, "announced": 0, "withdrawn reason=draining": 1, "withdrawn reason=overload-budgets": 0,
		}, nil},
		{"server", `{"announced":true,"relay":{"announced":true}}`, map[string]float64{
			"announced": 1, "withdrawn reason=draining": 0, "relay_announced": 1, "relay_withdrawn reason=draining": 0,
		}, nil},
		{"relay", `{"state":"running","peers_strangers":3,"capacity":4096,"paths":{"direct":{"sent_packets":5},"local":{"sent_packets":4},"kernel":{"received_bytes":6}}}`, map[string]float64{
			"state state=running": 1, "peers kind=strangers": 3, "peers_capacity": 4096, "path_sent_packets_total path=direct": 5,
			"path_sent_packets_total path=local": 4, "path_sent_packets_total path=relay": 0, "kernel_received_bytes_total": 6,
		}, nil},
		{"server", `{"state":"running","native":true,"counters":{"solicitations":4,"echoes_forwarded_native":6,"drops":{"budget":5}}}`,
			map[string]float64{
				"server_native": 1, "server_solicitations_total": 4, "server_forwarded_total packet=echo to=native": 6, "drops_total reason=budget": 5,
			}, []string{"relay_peers_capacity", "relay_drops_total reason=budget"}},
		{"server", `{"state":"running","relay":{"state":"running","capacity":4096,"peers_sought":2,"drops":{"budget":7},"paths":{"relay":{"sent_bytes":8}}}}`,
			map[string]float64{
				"relay_peers_capacity": 4096, "relay_peers kind=sought": 2, "relay_drops_total reason=budget": 7, "drops_total reason=budget": 0,
				"relay_path_sent_bytes_total path=relay": 8, "state state=running": 1,
			}, []string{"peers kind=sought", "relay_state state=running"}},
		{"client", `{"traffic":{"today":{"ipv4_bytes":10,"ipv6_bytes":20,"teredo_bytes":30}}}`,
			map[string]float64{
				"host_traffic_today_bytes protocol=ipv4": 10, "host_traffic_today_bytes protocol=ipv6": 20, "host_traffic_today_bytes protocol=teredo": 30,
			}, []string{"proxy_sent_bytes_total"}},
	} {
		got := gather(t, test.program, test.status)
		for name, value := range test.want {
			if v, ok := got[prefix+name]; !ok || v != value {
				t.Errorf("%s: %s is %v, %v; want %v", test.program, name, v, ok, value)
			}
		}
		for _, name := range test.absent {
			if v, ok := got[prefix+name]; ok {
				t.Errorf("%s: %s is %v, and it is not known", test.program, name, v)
			}
		}
	}
}

// Whatever a status says, there are no other series.
func TestSeriesAreBounded(t *testing.T) {
	for program := range programs() {
		normal := gather(t, program, "{"+everything+"}")
		var entries []string
		for i := range 1000 {
			entries = append(entries, fmt.Sprintf(`"x%d":1`, i))
		}
		many := "{" + strings.Join(entries, ",") + "}"
		hostile := gather(t, program, fmt.Sprintf(`{"state":"x","nat":"<y>","drops":%[1]s,"budgets":%[1]s,"queues":%[1]s,"offloads":%[1]s,"counters":{"drops":%[1]s},
			%[2]s,"relay":{"drops":%[1]s,"budgets":%[1]s},"proxy":{"connections":%[1]s,"connections_total":%[1]s,"refused":%[1]s}}`, many, everything))
		if len(normal) != len(hostile) || len(normal) > 150 {
			t.Errorf("%s: %d series, and %d for a hostile status", program, len(normal), len(hostile))
		}
	}
}

func TestStatusFails(t *testing.T) {
	fails := errors.New("no status")
	registry, err := NewRegistry("relay", "v1", func(context.Context) (any, error) { return nil, fails })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Gather(); err == nil || !strings.Contains(err.Error(), "no status") {
		t.Errorf("error %v", err)
	}
	if _, err := NewRegistry("toaster", "v1", nil); err == nil {
		t.Error("there are metrics of a toaster")
	}
}

type (
	serverStatus = teredoserver.Status
	announcement = announce.Status
	relayStatus  struct {
		tunnel.RelayStatus
		announcement
	}
)

// Fields that metrics are made of are fields of the status.
func TestFields(t *testing.T) {
	client := reflect.TypeFor[struct {
		tunnel.ClientStatus
		Traffic traffic.Summary `json:"traffic"` // of the host
		Proxy   proxy.Status    `json:"proxy"`
	}]()
	for program, status := range map[string]reflect.Type{
		"client": client, "proxy": client, "relay": reflect.TypeFor[relayStatus](),
		"server": reflect.TypeFor[struct {
			State string `json:"state"` // of the program
			serverStatus
			announcement
			Relay relayStatus `json:"relay"`
		}](),
	} {
		for _, f := range programs()[program] {
			for _, s := range f.series {
				if !hasField(status, strings.Split(s.field, ".")) {
					t.Errorf("%s: %s is made of %s, which the status does not have", program, f.name, s.field)
				}
			}
		}
	}
}

func hasField(t reflect.Type, path []string) bool {
	if len(path) == 0 || t.Kind() == reflect.Map {
		return len(path) < 2
	}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name == path[0] {
			return hasField(f.Type, path[1:])
		}
	}
	return false
}

// Names follow the conventions: what counts ends in _total and nothing else does, a time is in seconds.
func TestNames(t *testing.T) {
	for program, families := range programs() {
		seen := make(map[string]bool)
		for _, f := range families {
			counts := strings.HasSuffix(f.name, "_total")
			if counts != (f.kind == prometheus.CounterValue) || seen[f.name] || !strings.HasSuffix(f.help, ".") || strings.Contains(f.name, "_ms") {
				t.Errorf("%s: %s: %s", program, f.name, f.help)
			}
			seen[f.name] = true
		}
	}
}

// Rules and dashboards name metrics, and values of their labels, that there are.
func TestContrib(t *testing.T) {
	exists, labels := make(map[string]bool), make(map[string]map[string]bool)
	for program := range programs() {
		for name := range gather(t, program, "{"+everything+"}") {
			words := strings.Fields(name)
			exists[words[0]] = true
			for _, label := range words[1:] {
				if labels[words[0]] == nil {
					labels[words[0]] = make(map[string]bool)
				}
				labels[words[0]][label] = true
			}
		}
	}
	metric := regexp.MustCompile(`\b(teredo_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	equal := regexp.MustCompile(`([a-z]+)=~?\\?"([^"\\]*)`)
	files, err := filepath.Glob("../../contrib/*/*")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, file := range files {
		if !strings.Contains(file, "prometheus") && !strings.Contains(file, "grafana") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range metric.FindAllStringSubmatch(string(text), -1) {
			named++
			if !exists[m[1]] && m[1] != "teredo_web_refused_total" {
				t.Errorf("%s names %s, which no program has", file, m[1])
			}
			for _, l := range equal.FindAllStringSubmatch(m[2], -1) {
				for value := range strings.SplitSeq(l[2], "|") {
					if l[1] != "instance" && l[1] != "job" && !labels[m[1]][l[1]+"="+value] {
						t.Errorf("%s: %s has no label %s=%s", file, m[1], l[1], value)
					}
				}
			}
		}
	}
	if named < 20 {
		t.Errorf("%d metrics are named", named)
	}
}

// dashboard is what Grafana needs of a panel.
type dashboard struct {
	Title         string `json:"title"`
	UID           string `json:"uid"`
	SchemaVersion int    `json:"schemaVersion"`
	Panels        []struct {
		ID      int    `json:"id"`
		Title   string `json:"title"`
		Type    string `json:"type"`
		GridPos struct{ H, W, X, Y int }
		Targets []struct {
			Expr  string `json:"expr"`
			RefID string `json:"refId"`
		} `json:"targets"`
	} `json:"panels"`
}

// The dashboard has what Grafana needs: panels with numbers and places of their own, and questions to Prometheus.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../contrib/grafana/teredo.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion == 0 || len(d.Panels) == 0 {
		t.Errorf("dashboard %+v", d)
	}
	seen, place := make(map[int]bool), make(map[[2]int]string)
	for _, p := range d.Panels {
		if seen[p.ID] || p.Title == "" || p.Type == "" || p.GridPos.W < 1 || p.GridPos.X+p.GridPos.W > 24 || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %+v", p)
		}
		seen[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, taken := place[at]; taken {
					t.Fatalf("panel %q is over %q", p.Title, other)
				}
				place[at] = p.Title
			}
		}
		var refs []string
		for _, q := range p.Targets {
			if q.Expr == "" || q.RefID == "" {
				t.Errorf("panel %q asks %+v", p.Title, q)
			}
			refs = append(refs, q.RefID)
		}
		if diff := cmp.Diff(len(refs), len(unique(refs))); diff != "" {
			t.Errorf("panel %q has two questions of one name: %v", p.Title, refs)
		}
	}
}

func unique(words []string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range words {
		set[w] = true
	}
	return set
}

// docs/monitoring.md names every metric, and no other. It says once that those of a server's relay are those of a relay with another prefix.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{"web_refused_total": true, "start_time_seconds": true, "build_info": true}
	for _, families := range programs() {
		for _, f := range families {
			exists[strings.TrimPrefix(f.name, "relay_")] = true
		}
	}
	named := make(map[string]bool)
	for _, m := range regexp.MustCompile("`teredo_(?:relay_)?([a-z_]*[a-z])`").FindAllStringSubmatch(string(text), -1) {
		named[m[1]] = true
		if !exists[m[1]] {
			t.Errorf("there is no metric %s", m[0])
		}
	}
	for name := range exists {
		if like := strings.NewReplacer("received", "sent", "bytes", "packets").Replace(name); !named[name] && !named[like] {
			t.Errorf("docs/monitoring.md does not name %s%s", prefix, name)
		}
	}
}
