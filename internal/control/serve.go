// Package control is the local status socket: HTTP with JSON over a Unix socket. Windows has a TCP port of the loopback address
// instead, and a file that names it with a token, which only the user of the program can read.
//
// A running program answers questions (Listen, Serve), which the commands ask (Get). It also does what has no lasting effect, such as
// a ping, for those who may ask for it (Do).
package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/netutil"
)

const (
	maxConnections = 32
	answerTimeout  = 5 * time.Second
	doTimeout      = 45 * time.Second // for what Do does
	maxArgument    = 1024             // bytes
	stopTimeout    = time.Second
)

// Question is something that a program can be asked for.
type Question struct {
	// Answer returns what is sent in its JSON form. It must heed its context.
	Answer func(ctx context.Context) (any, error)
	// Do, in place of Answer, does something with an argument, for one caller, and returns what has come of it. Its context ends when
	// the caller has gone.
	Do func(ctx context.Context, argument string) (any, error)
	// Take, in place of Answer, gets the connection, and talks with the caller over it in a way of its own. The connection is closed when
	// it returns. The caller uses Connect.
	Take   func(*net.UnixConn)
	Circle *Circle // who may ask; nil: every local user
}

// Serve answers GET /name to questions[name], and POST /name?argument to those that have Do, until ctx ends or the listener fails. It
// closes l, which removes the socket. The error is nil when ctx ended it.
//
// However many ask, there is one answer to a question at a time, and a pause between two: those who ask meanwhile wait for the
// next one, and share it.
func Serve(ctx context.Context, l net.Listener, questions map[string]Question) error {
	making, stop := context.WithCancel(context.WithoutCancel(ctx))
	mux := http.NewServeMux()
	for name, question := range questions {
		pattern, serve := "POST /"+name, question.serveDo
		if question.Take != nil {
			serve = question.serveTake
		} else if question.Do == nil {
			a := newAnswers(making, question.Answer)
			defer a.wait()
			pattern, serve = "GET /"+name, a.serve
		}
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !question.Circle.has(callerOf(r.Context())) {
				http.Error(w, "those who may ask are "+question.Circle.names, http.StatusForbidden)
				return
			}
			serve(w, r)
		})
	}
	defer stop()
	srv := &http.Server{
		Handler:        guard(l, mux),
		ConnContext:    withCaller,
		ReadTimeout:    2 * time.Second,
		WriteTimeout:   2 * answerTimeout,
		MaxHeaderBytes: 4096,
		ErrorLog:       log.New(io.Discard, "", 0), // a caller's mistakes are told to the caller
	}
	srv.SetKeepAlivesEnabled(false) // who asks for much and reads nothing must not keep others waiting
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})()
	err := srv.Serve(netutil.LimitListener(callers{l}, maxConnections))
	if !errors.Is(err, http.ErrServerClosed) {
		l.Close()
		return err
	}
	<-stopped
	return nil
}

// serveDo does what is asked for, and sends what has come of it.
func (q Question) serveDo(w http.ResponseWriter, r *http.Request) {
	argument, err := url.QueryUnescape(r.URL.RawQuery)
	if err != nil || len(argument) > maxArgument {
		http.Error(w, "the argument is malformed or too long", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), doTimeout)
	defer cancel()
	connection := http.NewResponseController(w)
	// These fail only when the connection has gone. A read that times out would look as if the caller had.
	_ = connection.SetReadDeadline(time.Time{})
	_ = connection.SetWriteDeadline(time.Now().Add(doTimeout + answerTimeout))
	v, err := q.Do(ctx, argument)
	var body []byte
	if err == nil {
		body, err = json.Marshal(v)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// serveTake lets Take have the connection.
func (q Question) serveTake(w http.ResponseWriter, r *http.Request) {
	socket := callerOf(r.Context()).socket
	if socket == nil {
		http.Error(w, "this takes a Unix socket", http.StatusNotImplemented)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // the caller has gone
	}
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(answerTimeout)) != nil {
		return
	}
	const answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: teredo\r\n\r\n"
	if _, err := io.WriteString(conn, answer); err != nil {
		return
	}
	// The caller's HTTP may read ahead until it has understood the answer.
	var understood [1]byte
	if _, err := io.ReadFull(socket, understood[:]); err == nil && conn.SetDeadline(time.Time{}) == nil {
		q.Take(socket)
	}
}
