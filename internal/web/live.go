package web

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"reflect"
	"sync"
	"time"
)

const (
	mostViewers = 200
	idlePause   = 5 * time.Second // between two samples while nobody looks
	mostHistory = 180             // samples that a new viewer gets: three minutes, or fifteen while nobody looked
)

// live is the stream that the page draws. A viewer gets the status at the beginning of the history, and then what has changed, from
// sample to sample. The samples are made once for all viewers.
type live struct {
	status *shared[Status]
	log    func(after uint64) ([]string, uint64)
	arrive chan struct{} // wakes the sampler for a new viewer
	ended  chan struct{} // closed when there will be no more samples

	mu      sync.Mutex
	first   change   // the status at the beginning of the history
	history []change // each of them changes the one before
	number  uint64   // of the first of the history
	latest  map[string]any
	at      time.Time     // when latest was true
	more    chan struct{} // closed when there is another sample
	viewers int
}

// change is a JSON merge patch (RFC 7396).
type change struct {
	Time   int64          `json:"t"` // milliseconds since the Unix epoch
	Status map[string]any `json:"s"`
	Log    uint64         `json:"log,omitempty"` // lines that have been logged since the start

	text []byte // the event
}

func newLive(status *shared[Status], log func(uint64) ([]string, uint64)) *live {
	return &live{status: status, log: log, arrive: make(chan struct{}, 1), ended: make(chan struct{}), more: make(chan struct{})}
}

// run takes samples until ctx ends.
func (l *live) run(ctx context.Context) {
	defer close(l.ended)
	for ctx.Err() == nil {
		l.sample(ctx)
		pause := time.NewTimer(l.pause())
		select {
		case <-ctx.Done():
		case <-l.arrive:
		case <-pause.C:
		}
		pause.Stop()
	}
}

func (l *live) pause() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.viewers > 0 {
		return keep
	}
	return idlePause
}

// sample notes what has changed in the status. A status that cannot be had is no sample.
func (l *live) sample(ctx context.Context) {
	status, err := l.status.get(ctx)
	if err != nil {
		return
	}
	fields, err := fieldsOf(status.Value)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if status.at.Equal(l.at) { // somebody else has asked for it in this second
		return
	}
	c := change{Time: status.at.UnixMilli(), Status: fields}
	if l.log != nil {
		_, c.Log = l.log(math.MaxUint64)
	}
	if l.latest == nil {
		l.first = c
	} else {
		c.Status = difference(l.latest, fields)
		c.text = event(c)
		l.history = append(l.history, c)
	}
	if len(l.history) > mostHistory {
		next := l.history[0]
		l.first = change{Time: next.Time, Status: patched(l.first.Status, next.Status), Log: next.Log}
		l.history = append(l.history[:0:0], l.history[1:]...)
		l.number++
	}
	l.latest, l.at = fields, status.at
	close(l.more)
	l.more = make(chan struct{})
}

// fieldsOf is a status in its JSON form. Fractions have three digits: more change each time and tell nothing.
func fieldsOf(status any) (fields map[string]any, err error) {
	text, err := json.Marshal(status)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	round(fields)
	return fields, err
}

func round(fields map[string]any) {
	for name, value := range fields {
		switch v := value.(type) {
		case float64:
			if v != math.Trunc(v) {
				fields[name] = math.Round(v*1000) / 1000
			}
		case map[string]any:
			round(v)
		}
	}
}

// difference is the merge patch that makes one object of another.
func difference(from, to map[string]any) map[string]any {
	patch := make(map[string]any)
	for name := range from {
		if _, ok := to[name]; !ok {
			patch[name] = nil
		}
	}
	for name, value := range to {
		was, ok := from[name]
		inner, isObject := value.(map[string]any)
		before, wasObject := was.(map[string]any)
		switch {
		case isObject && wasObject:
			if d := difference(before, inner); len(d) > 0 {
				patch[name] = d
			}
		case !ok || !reflect.DeepEqual(was, value):
			patch[name] = value
		}
	}
	return patch
}

// patched is an object with a merge patch applied. It changes neither.
func patched(object, patch map[string]any) map[string]any {
	result := make(map[string]any, len(object))
	for name, value := range object {
		result[name] = value
	}
	for name, value := range patch {
		inner, isObject := value.(map[string]any)
		before, wasObject := result[name].(map[string]any)
		switch {
		case value == nil:
			delete(result, name)
		case isObject && wasObject:
			result[name] = patched(before, inner)
		default:
			result[name] = value
		}
	}
	return result
}

// event writes something as a server-sent event.
func event(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // it came out of JSON
	}
	return append(append([]byte("data: "), text...), "\n\n"...)
}

// greeting is what a viewer gets first.
type greeting struct {
	Program string   `json:"program"`
	Version string   `json:"version"`
	Can     []string `json:"can"`    // what else there is to ask for, for this viewer
	Locked  bool     `json:"locked"` // there would be more with a token
	change
}

// view sends the stream to a viewer until it leaves. A viewer that is behind by the whole history has lost its place.
func (s *Site) view(l *live, hello greeting) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !l.enter() {
			s.refuse(w, tooManyViewers, http.StatusServiceUnavailable, "there are as many viewers as there may be")
			return
		}
		defer l.leave()
		w.Header().Set("Content-Type", "text/event-stream")
		connection := http.NewResponseController(w)
		_ = connection.SetReadDeadline(time.Time{}) // nothing more comes from a viewer
		send := func(text []byte) bool {
			_ = connection.SetWriteDeadline(time.Now().Add(s.server.WriteTimeout))
			_, err := w.Write(text)
			return err == nil
		}
		first, next, ok := l.begin(r.Context())
		if !ok {
			return
		}
		mine := hello
		mine.change = first
		more := send(event(mine))
		for more {
			samples, wait, kept := l.since(next)
			if !kept {
				s.refused[slowReader].Add(1)
				return
			}
			next += uint64(len(samples))
			for _, sample := range samples {
				more = more && send(sample.text)
			}
			if connection.Flush() != nil {
				return
			}
			select {
			case <-wait:
			case <-l.ended:
				return
			case <-r.Context().Done():
				return
			}
		}
	}
}

// begin waits for the first sample. It returns the beginning of the history, and the number of the sample behind it.
func (l *live) begin(ctx context.Context) (first change, next uint64, ok bool) {
	for {
		l.mu.Lock()
		first, next, ok = l.first, l.number, l.latest != nil
		more := l.more
		l.mu.Unlock()
		if ok {
			return first, next, true
		}
		select {
		case <-more:
		case <-l.ended:
			return first, next, false
		case <-ctx.Done():
			return first, next, false
		}
	}
}

// since returns the samples from the one with this number on, and what is closed when there are more. kept is false if the history
// has not kept it.
func (l *live) since(number uint64) (samples []change, more <-chan struct{}, kept bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number < l.number {
		return nil, nil, false
	}
	return l.history[number-l.number:], l.more, true
}

func (l *live) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.viewers >= mostViewers {
		return false
	}
	if l.viewers++; l.viewers == 1 {
		select {
		case l.arrive <- struct{}{}:
		default:
		}
	}
	return true
}

func (l *live) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.viewers--
}
