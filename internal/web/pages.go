package web

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/teredo-suite/teredo/internal/metrics"
)

// Rows of the list of peers that are shown when a caller does not say how many, and at most.
const (
	fewPeers  = 100
	mostPeers = 1000
)

// Program is what the site tells of.
type Program struct {
	Name    string // as package metrics knows it
	Version string
	Status  func(context.Context) (Status, error)
	Peers   func(context.Context) (any, error) // a slice of Peer; nil: the program has none
	Traffic func(context.Context) (any, error) // of the host, by day; nil: the program keeps no history
}

// Status is the status of a program.
type Status struct {
	Value    any  // in JSON form it is the status
	Ready    bool // it does what it is for
	Answered bool // it has told its status just now
}

// Peer is a row of the list of peers.
type Peer interface{ IdleSeconds() float64 }

//go:embed index.html
var index []byte

// answers are what all callers share.
type answers struct {
	status  *shared[Status]
	metrics *shared[[]byte]   // in Prometheus's text format
	peers   *shared[[][]byte] // rows in JSON form, the most recent first
}

// handler serves the pages.
func (s *Site) handler(p Program) (http.Handler, error) {
	a := answers{status: share(p.Status)}
	registry, err := metrics.NewRegistry(p.Name, p.Version, func(ctx context.Context) (any, error) {
		status, err := a.status.get(ctx)
		return status.Value, err
	})
	if err != nil {
		return nil, err
	}
	if err := registry.Register(&s.refused); err != nil {
		return nil, err
	}
	a.metrics = share(func(context.Context) ([]byte, error) { return exposition(registry) })
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", s.private(func(w http.ResponseWriter, _ *http.Request) { send(w, "text/html; charset=utf-8", index) }))
	mux.HandleFunc("/healthz", a.health(func(status Status) bool { return status.Answered }))
	mux.HandleFunc("/readyz", a.health(func(status Status) bool { return status.Answered && status.Ready }))
	mux.HandleFunc("/metrics", s.private(a.serveMetrics))
	mux.HandleFunc("/api/v1/status", s.private(serveJSON(func(ctx context.Context) (any, error) {
		status, err := a.status.get(ctx)
		return status.Value, err
	})))
	if p.Traffic != nil {
		mux.HandleFunc("/api/v1/traffic", s.private(serveJSON(share(p.Traffic).get)))
	}
	if p.Peers != nil {
		a.peers = share(func(ctx context.Context) ([][]byte, error) {
			list, err := p.Peers(ctx)
			if err != nil {
				return nil, err
			}
			return recent(list)
		})
		mux.HandleFunc("/api/v1/peers", s.secret(a.servePeers))
	}
	return s.guard(mux), nil
}

// exposition writes all metrics in Prometheus's text format.
func exposition(from prometheus.Gatherer) ([]byte, error) {
	families, err := from.Gather()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}

// recent writes each row of a list of peers, those first that packets were exchanged with last.
func recent(list any) ([][]byte, error) {
	v := reflect.ValueOf(list)
	peers := make([]Peer, v.Len())
	for i := range peers {
		p, ok := v.Index(i).Addr().Interface().(Peer)
		if !ok {
			return nil, fmt.Errorf("a peer is a %v", v.Type().Elem())
		}
		peers[i] = p
	}
	slices.SortStableFunc(peers, func(a, b Peer) int { return cmp.Compare(a.IdleSeconds(), b.IdleSeconds()) })
	rows := make([][]byte, min(len(peers), mostPeers))
	for i := range rows {
		row, err := json.Marshal(peers[i])
		if err != nil {
			return nil, err
		}
		rows[i] = row
	}
	return rows, nil
}

// health answers 200 when the status is good, and 503 when it is not. It tells nothing else, so it is for everybody.
func (a *answers) health(good func(Status) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		status, err := a.status.get(r.Context())
		if err != nil || !good(status) {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		send(w, "text/plain; charset=utf-8", []byte("ok\n"))
	}
}

func (a *answers) serveMetrics(w http.ResponseWriter, r *http.Request) {
	text, err := a.metrics.get(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	send(w, string(expfmt.NewFormat(expfmt.TypeTextPlain)), text)
}

// serveJSON answers with a value in its JSON form.
func serveJSON(get func(context.Context) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := get(r.Context())
		if err != nil {
			fail(w, err)
			return
		}
		text, err := json.Marshal(value)
		if err != nil {
			fail(w, err)
			return
		}
		send(w, "application/json", text)
	}
}

// servePeers writes row after row, which all callers share. So a caller costs no more memory for reading slowly.
func (a *answers) servePeers(w http.ResponseWriter, r *http.Request) {
	limit := fewPeers
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mostPeers {
			http.Error(w, fmt.Sprintf("limit must be a number from 1 to %d", mostPeers), http.StatusBadRequest)
			return
		}
		limit = n
	}
	rows, err := a.peers.get(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	separator := "["
	for _, row := range rows[:min(limit, len(rows))] {
		// A caller that has gone gets nothing, and needs nothing.
		_, _ = io.WriteString(w, separator)
		_, _ = w.Write(row)
		separator = ","
	}
	if separator == "[" {
		_, _ = io.WriteString(w, separator)
	}
	_, _ = io.WriteString(w, "]")
}

// send sends a whole answer.
func send(w http.ResponseWriter, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a caller that has gone gets nothing, and needs nothing
}

func fail(w http.ResponseWriter, err error) {
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}
