package web

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"time"
)

const (
	pingPath    = "/api/v1/ping"
	mostPings   = 4 // at a time
	mostPing    = 256
	pingTimeout = 40 * time.Second // longer than any search for a path
)

// guardPing lets through a request to ping a peer: a small one in JSON form, which no page of somebody else can have sent. The
// content type has a browser ask first before it sends such a request to another site, and we never allow it.
func (s *Site) guardPing(w http.ResponseWriter, r *http.Request, next http.Handler) {
	switch {
	case http.NewCrossOriginProtection().Check(r) != nil || r.Header.Get("Content-Type") != "application/json":
		s.refuse(w, foreignPage, http.StatusForbidden, "only our own page may ask for this, with the content type application/json")
	case r.ContentLength <= 0 || r.ContentLength > mostPing:
		s.refuse(w, withBody, http.StatusRequestEntityTooLarge, `the body must be like {"address":"2001:db8::1"}`)
	default:
		next.ServeHTTP(w, r)
	}
}

// pinger has the program ping the address that a request names.
func (s *Site) pinger(ping func(context.Context, string) (any, error)) http.HandlerFunc {
	places := make(chan struct{}, mostPings)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", "POST")
			s.refuse(w, wrongMethod, http.StatusMethodNotAllowed, "use POST")
			return
		}
		var question struct {
			Address netip.Addr `json:"address"`
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &question) != nil || !question.Address.Is6() || question.Address.Zone() != "" {
			http.Error(w, `the body must be like {"address":"2001:db8::1"}`, http.StatusBadRequest)
			return
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			s.refuse(w, tooManyPings, http.StatusServiceUnavailable, "other pings are under way: try again in a moment")
			return
		}
		connection := http.NewResponseController(w)
		_ = connection.SetReadDeadline(time.Time{}) // the answer comes later than requests usually may take
		_ = connection.SetWriteDeadline(time.Now().Add(pingTimeout + s.server.WriteTimeout))
		ctx, cancel := context.WithTimeout(r.Context(), pingTimeout)
		defer cancel()
		answer, err := ping(ctx, question.Address.String())
		if err != nil {
			fail(w, err)
			return
		}
		sendJSON(w, r, answer)
	}
}
