package web

import (
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// refusal is a reason for which a request or a connection gets no answer.
type refusal uint8

const (
	foreignHost    refusal = iota // the Host header names another host, as when a web page of somebody else asks (DNS rebinding)
	wrongToken                    // the token is wrong or absent
	wrongMethod                   // neither GET nor HEAD
	withBody                      // the request has a body
	malformed                     // no request came that could be read: too large, too slow, or not HTTP
	tooMany                       // there are as many connections as there may be
	slowReader                    // the caller did not take the answer in time
	tooManyViewers                // as many pages are open as there may be
	tooManyPings                  // as many pings are under way as there may be
	foreignPage                   // the page of somebody else wants to have a peer pinged
	refusalReasons
)

func (r refusal) String() string {
	return [refusalReasons]string{"host", "token", "method", "body", "malformed", "connections", "slow", "viewers", "pings", "origin"}[r]
}

// refusals counts, and exposes the counts as a metric.
type refusals [refusalReasons]atomic.Uint64

func (*refusals) metric() *prometheus.Desc {
	return prometheus.NewDesc("teredo_web_refused_total", "Requests and connections that the web address refused, by reason.", []string{"reason"}, nil)
}

// Describe names the metric.
func (r *refusals) Describe(to chan<- *prometheus.Desc) { to <- r.metric() }

// Collect tells the counts.
func (r *refusals) Collect(to chan<- prometheus.Metric) {
	metric := r.metric()
	for reason := range refusalReasons {
		to <- prometheus.MustNewConstMetric(metric, prometheus.CounterValue, float64(r[reason].Load()), reason.String())
	}
}

// refuse counts a request and answers with the reason.
func (s *Site) refuse(w http.ResponseWriter, why refusal, code int, text string) {
	s.refused[why].Add(1)
	w.Header().Set("Connection", "close")
	http.Error(w, text, code)
}
