package web

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// A merge patch makes the later object of the earlier one, whatever was added, changed or left out.
func TestPatches(t *testing.T) {
	for _, texts := range [][2]string{
		{`{}`, `{"a":1}`},
		{`{"a":1,"b":{"c":2,"d":3}}`, `{"b":{"c":4}}`},
		{`{"a":{"b":1}}`, `{"a":"none"}`},
		{`{"a":"none"}`, `{"a":{"b":{"c":1}}}`},
		{`{"a":[1,2],"b":[1]}`, `{"a":[1],"b":[1]}`},
		{`{"a":{"b":1}}`, `{"a":{"b":1}}`},
	} {
		var from, to map[string]any
		for i, object := range []*map[string]any{&from, &to} {
			if err := json.Unmarshal([]byte(texts[i]), object); err != nil {
				t.Fatal(err)
			}
		}
		patch := difference(from, to)
		if got := patched(from, patch); !reflect.DeepEqual(got, to) {
			t.Errorf("%v: %v makes %v", texts, patch, got)
		}
		if reflect.DeepEqual(from, to) != (len(patch) == 0) {
			t.Errorf("%v: %v", texts, patch)
		}
	}
}

// The history is bounded, and its beginning with all of its changes is the latest status.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		l := newLive(share(func(context.Context) (Status, error) {
			n++
			return Status{Value: map[string]any{"n": n, fmt.Sprint("only", n%3): true, "fraction": 1 / 3.0}, at: time.Now()}, nil
		}), nil)
		ctx, stop := context.WithCancel(t.Context())
		go l.run(ctx)
		time.Sleep(2 * mostHistory * idlePause)
		stop()
		synctest.Wait()
		first, next, _ := l.begin(t.Context())
		samples, _, kept := l.since(next)
		if len(samples) != mostHistory || !kept || n > 2*mostHistory+1 {
			t.Errorf("%d samples of %d", len(samples), n)
		}
		status := first.Status
		for _, s := range samples {
			status = patched(status, s.Status)
		}
		if want := (map[string]any{"n": float64(n), fmt.Sprint("only", n%3): true, "fraction": 0.333}); !reflect.DeepEqual(status, want) {
			t.Errorf("the status is %v, want %v", status, want)
		}
		if _, _, kept := l.since(next - 1); kept {
			t.Error("a sample before the history is there")
		}
	})
}

// While nobody looks there is a sample in five seconds. With viewers there is one in a second, however many they are.
func TestSampling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		l := newLive(share(func(context.Context) (Status, error) {
			asked.Add(1)
			return Status{Value: map[string]any{}, at: time.Now()}, nil
		}), nil)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go l.run(ctx)
		time.Sleep(time.Minute + time.Second/2)
		synctest.Wait()
		if want := int64(time.Minute/idlePause) + 1; asked.Load() != want {
			t.Errorf("nobody looks: %d samples in a minute, want %d", asked.Load(), want)
		}
		for range mostViewers {
			if !l.enter() {
				t.Fatal("no place for a viewer")
			}
		}
		if l.enter() {
			t.Error("there is a place for another viewer")
		}
		synctest.Wait()
		asked.Store(0)
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := int64(time.Minute / keep); asked.Load() != want {
			t.Errorf("many look: %d samples in a minute, want %d", asked.Load(), want)
		}
		for range mostViewers {
			l.leave()
		}
		if !l.enter() {
			t.Error("no place although all have left")
		}
	})
}

// stream opens the stream, and returns what reads an event.
func stream(t *testing.T, s *Site, change func(*http.Request)) (*http.Response, func() map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.Addr().String()+"/api/v1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	lines := bufio.NewReader(answer.Body)
	return answer, func() (event map[string]any) {
		t.Helper()
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(bytes.TrimPrefix(line, []byte("data: ")), &event); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		_, _ = lines.Discard(1) // the empty line
		return event
	}
}

// The stream begins with what the program is and its status, and goes on with changes. It lasts longer than other requests may.
func TestLive(t *testing.T) {
	var n atomic.Int64
	s := serve(t, Config{TokenFile: write(t, secretWord, 0o600)}, Program{
		Version: "v9", Log: func(uint64) ([]string, uint64) { return nil, 7 },
		Status: func(context.Context) (Status, error) {
			return Status{Value: map[string]any{"state": "running", "name": "<b>", "n": n.Add(1)}}, nil
		},
	}, func(s *Site) {
		s.server.ReadTimeout, s.server.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond
	})
	if answer, _ := stream(t, s, nil); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %s", answer.Status)
	}
	answer, next := stream(t, s, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secretWord) })
	hello := next()
	status, _ := hello["s"].(map[string]any)
	if answer.Header.Get("Content-Type") != "text/event-stream" || hello["program"] != "server" || hello["version"] != "v9" || fmt.Sprint(hello["can"]) != "[log]" ||
		hello["locked"] != false || status["name"] != "<b>" || hello["log"] != 7.0 {
		t.Errorf("greeting %v, header %v", hello, answer.Header)
	}
	was := status["n"].(float64)
	for range 3 {
		change := next()
		got := change["s"].(map[string]any)
		if len(got) != 1 || got["n"] != was+1 || change["t"].(float64) <= hello["t"].(float64) {
			t.Errorf("change %v after %v", change, was)
		}
		was++
	}
}

// Viewers beyond the bound are refused.
func TestManyViewers(t *testing.T) {
	var l *live
	s := serve(t, Config{}, Program{}, nil)
	l = newLive(share(status("running")), nil)
	l.viewers = mostViewers
	was := s.refused[tooManyViewers].Load()
	w := &recorder{header: make(http.Header)}
	s.view(l, greeting{})(w, nil)
	if w.code != http.StatusServiceUnavailable || s.refused[tooManyViewers].Load() != was+1 {
		t.Errorf("code %d", w.code)
	}
}

type recorder struct {
	header http.Header
	code   int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(code int)        { r.code = code }

// A viewer that does not read is cut off.
func TestSlowViewer(t *testing.T) {
	var n atomic.Int64
	s := serve(t, Config{}, Program{Status: func(context.Context) (Status, error) {
		return Status{Value: map[string]any{"text": strings.Repeat("x", 16<<20) + fmt.Sprint(n.Add(1))}}, nil // more than sockets buffer
	}}, func(s *Site) { s.server.WriteTimeout = 500 * time.Millisecond })
	raw(t, s, "GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
	await(t, s, slowReader, 1)
}

// full is a status as that of a busy client, in which everything changes each second.
func full(n uint64) map[string]any {
	traffic := func() map[string]any {
		return map[string]any{"sent_packets": n * 1234567, "received_packets": n * 2345678, "sent_bytes": n * 1234567890, "received_bytes": n * 2345678901}
	}
	status := traffic()
	status["state"], status["last_error"], status["uptime_seconds"] = "qualified", "none", float64(n)+math.Pi
	status["server_heard_seconds_ago"], status["server_rtt_ms"], status["peers"] = math.Mod(float64(n)*math.E, 30), math.Mod(float64(n)*math.Pi, 50), 5000+n%7
	status["peers_established"], status["peers_sought"], status["peers_strangers"] = 4000+n%7, 500+n%5, 500+n%3
	status["paths"] = map[string]any{"direct": traffic(), "local": traffic(), "relay": traffic(), "kernel": traffic()}
	status["drops"] = map[string]any{"budget": n * 3, "policy": n * 5, "queue-full": n * 7, "malformed": n * 11}
	status["budgets"] = map[string]any{"source": n * 3, "target": n * 5, "entries": n * 7}
	return status
}

// Everything that one viewer of a busy program with 5000 peers gets is under 5 kB a second: the samples, the table each four seconds,
// and the log with a line each second.
func TestBandwidth(t *testing.T) {
	var n atomic.Uint64
	n.Store(1 << 20)
	log := func(after uint64) ([]string, uint64) {
		all := n.Load()
		var lines []string
		for i := after; i < all; i++ {
			lines = append(lines, fmt.Sprintf(`time=2026-11-28T08:52:39.%03d+01:00 level=INFO msg="a path was found" peer=2001:0:c000:201::%x endpoint=203.0.113.1:%d`, i%1000, i, i%65536))
		}
		return lines, all
	}
	s := serve(t, Config{TokenFile: write(t, secretWord, 0o600)}, Program{
		Log: log, Peers: manyPeers(5000),
		Status: func(context.Context) (Status, error) { return Status{Value: full(n.Add(1)), Answered: true}, nil },
	}, nil)
	token := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secretWord) }
	answer, next := stream(t, s, token)
	next()
	const samples = 4
	perSecond := 0.0
	for range samples {
		change, err := json.Marshal(next())
		if err != nil {
			t.Fatal(err)
		}
		perSecond += float64(len("data: ")+len(change)+len("\n\n")+len("1000\r\n\r\n")) / samples
	}
	answer.Body.Close()
	asks := func(path string) float64 {
		answer, body := ask(t, s, "GET", path, func(r *http.Request) { token(r); r.Header.Set("Accept-Encoding", "gzip") })
		head := 0
		for name, values := range answer.Header {
			head += len(name) + len(values[0]) + len(": \r\n")
		}
		z, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(z); err != nil || !json.Valid(text) {
			t.Errorf("%s: %.100s, %v", path, text, err)
		}
		return float64(head + len(body))
	}
	stream, table, lines := perSecond, asks("/api/v1/peers/table?sort=-received_bytes")/4, asks(fmt.Sprint("/api/v1/log?after=", n.Load()-1))
	t.Logf("bytes a second: %.0f of samples, %.0f of peers, %.0f of the log", stream, table, lines)
	if all := stream + table + lines; all >= 5000 {
		t.Errorf("%.0f bytes a second", all)
	}
}

// peerRow is a peer as the programs have it.
type peerRow struct {
	Address  netip.Addr     `json:"address"`
	Endpoint netip.AddrPort `json:"endpoint"`
	State    string         `json:"state"`
	Path     string         `json:"path"`
	Carried  string         `json:"carried_by"`
	Sent     uint64         `json:"sent_packets"`
	Received uint64         `json:"received_packets"`
	Bytes    uint64         `json:"sent_bytes"`
	Heavy    uint64         `json:"received_bytes"`
	Held     int            `json:"held_packets"`
	Heard    float64        `json:"heard_seconds_ago"`
	Last     float64        `json:"sent_seconds_ago"`
	Since    float64        `json:"since_seconds"`
}

func (p *peerRow) IdleSeconds() float64 { return p.Heard }

// manyPeers are Teredo clients, every third behind a cone NAT, and a native host.
func manyPeers(n int) func(context.Context) (any, error) {
	list := make([]peerRow, n)
	for i := range list {
		mapped := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, byte(i >> 8), byte(i), 7}), uint16(10000+i))
		flags := uint16(0x1234)
		if i%3 == 0 {
			flags |= teredo.FlagCone
		}
		list[i] = peerRow{
			Address: teredo.Address{Server: netip.MustParseAddr("192.0.2.1"), Flags: flags, Mapped: mapped}.Addr(), Endpoint: mapped, State: "trusted", Path: "direct", Carried: "program",
			Sent: uint64(i) * 7919, Received: uint64(i) * 104729, Bytes: uint64(i) * 7919000, Heavy: uint64((i*7919)%n) * 104729000,
			Heard: float64(i) + 1/3.0, Last: float64(i) + 1/7.0, Since: float64(i),
		}
	}
	list[n-1].Address, list[n-1].Path, list[n-1].State = netip.MustParseAddr("2001:db8::1"), "relay", "searching"
	return func(context.Context) (any, error) { return list, nil }
}
