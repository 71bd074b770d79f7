// Package control is the local status socket: HTTP with JSON over a Unix socket, read only. Windows has a TCP port of the
// loopback address instead, and a file that names it with a token, which only the user of the program can read.
//
// A running program answers GET requests (Listen, Serve); the status and peers commands ask them (Get).
package control

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

const (
	maxConnections = 32
	answerTimeout  = 5 * time.Second
	stopTimeout    = time.Second
)

// Question is something that a program can be asked for.
type Question struct {
	// Answer returns what is sent in its JSON form. It must heed its context.
	Answer func(ctx context.Context) (any, error)
	Circle *Circle // who may ask; nil: every local user
}

// Serve answers GET /name to questions[name], until ctx ends or the listener fails. It closes l, which removes the socket.
// The error is nil when ctx ended it.
//
// However many ask, there is one answer to a question at a time, and a pause between two: those who ask meanwhile wait for the
// next one, and share it.
func Serve(ctx context.Context, l net.Listener, questions map[string]Question) error {
	making, stop := context.WithCancel(context.WithoutCancel(ctx))
	mux := http.NewServeMux()
	for name, question := range questions {
		a := newAnswers(making, question.Answer)
		defer a.wait()
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			if !question.Circle.has(callerOf(r.Context())) {
				http.Error(w, "those who may ask are "+question.Circle.names, http.StatusForbidden)
				return
			}
			a.serve(w, r)
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
