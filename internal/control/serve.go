// Package control is the local status socket: HTTP with JSON over a Unix socket, read only.
//
// A running program answers GET requests (Listen, Serve); the status and peers commands ask them (Get).
package control

import (
	"context"
	"encoding/json"
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

// Serve answers GET /name with the JSON form of what handlers[name] returns, until ctx ends or the listener
// fails. It closes l, which removes the socket. The error is nil when ctx ended it.
func Serve(ctx context.Context, l net.Listener, handlers map[string]func(ctx context.Context) (any, error)) error {
	mux := http.NewServeMux()
	for name, handler := range handlers {
		mux.HandleFunc("GET /"+name, answer(handler))
	}
	srv := &http.Server{
		Handler:        http.TimeoutHandler(mux, answerTimeout, "the program is too busy to answer\n"),
		ReadTimeout:    2 * time.Second,
		WriteTimeout:   2 * answerTimeout,
		IdleTimeout:    2 * time.Second,
		MaxHeaderBytes: 4096,
		ErrorLog:       log.New(io.Discard, "", 0), // a caller's mistakes are told to the caller
	}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})()
	err := srv.Serve(netutil.LimitListener(l, maxConnections))
	if !errors.Is(err, http.ErrServerClosed) {
		l.Close()
		return err
	}
	<-stopped
	return nil
}

func answer(handler func(ctx context.Context) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := handler(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		body, err := json.Marshal(v)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(append(body, '\n'))
	}
}
