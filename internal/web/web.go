// Package web answers over HTTP what machines and browsers want to know about a running program: metrics, health, status and peers,
// and a page that draws them.
//
// Nothing that is asked changes the program, except that a ping sends echo requests. Whoever asks, the program is asked once a second at most, and all share the answer.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	mostConnections = 512
	mostHeader      = 8 << 10 // bytes; net/http adds 4096
	readTimeout     = 5 * time.Second
	writeTimeout    = 10 * time.Second
	idleTimeout     = 2 * time.Minute // longer than the pause between two scrapes
	stopTimeout     = time.Second
)

// ErrNeedsToken tells that others than this host could ask, and there is no token.
var ErrNeedsToken = errors.New("it is not a loopback address, so every host that reaches it could ask without a token")

// Config says where to listen, and who may ask.
type Config struct {
	Address           netip.AddrPort
	Listener          net.Listener // listens at the address already; nil: none does
	TokenFile         string       // a file with the token that callers must have; empty: none, for loopback addresses only
	CertFile, KeyFile string       // certificate chain and key for TLS, in PEM; empty: no TLS
	Hosts             []string     // names and addresses that callers use for this host, besides localhost and the one they connect to
}

// Site is a web site that listens. Serve answers.
type Site struct {
	listener net.Listener
	socket   net.Listener // of the listener
	server   *http.Server
	token    *token // nil: none is needed
	hosts    hosts
	refused  refusals
	open     connections
}

// Listen reads the files and opens the socket, so that Serve needs no privilege.
func Listen(cfg Config) (*Site, error) {
	s := &Site{hosts: newHosts(cfg.Hosts)}
	if cfg.TokenFile != "" {
		t, err := loadToken(cfg.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("token file %s: %w", cfg.TokenFile, err)
		}
		s.token = t
	}
	if s.token == nil && !cfg.Address.Addr().IsLoopback() {
		return nil, ErrNeedsToken
	}
	s.server = &http.Server{
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: mostHeader,
		ConnState: s.follow, ConnContext: withConn,
		Protocols: new(http.Protocols),        // and not HTTP/2, which one connection can ask for much with
		ErrorLog:  log.New(io.Discard, "", 0), // a caller's mistakes are told to the caller
	}
	s.server.Protocols.SetHTTP1(true)
	if cfg.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", cfg.CertFile, cfg.KeyFile, err)
		}
		s.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	l := cfg.Listener
	if l == nil {
		var tcp net.ListenConfig
		tcp.SetMultipathTCP(false)
		var err error
		if l, err = tcp.Listen(context.Background(), "tcp", cfg.Address.String()); err != nil {
			return nil, err
		}
	}
	s.listener = &listener{l, s}
	s.socket = l
	return s, nil
}

// Addr is where the site listens.
func (s *Site) Addr() net.Addr { return s.listener.Addr() }

// Listener is the socket at which the site listens.
func (s *Site) Listener() net.Listener { return s.socket }

// Close closes a site that Serve was not called for.
func (s *Site) Close() error { return s.listener.Close() }

// Serve answers until ctx ends.
func (s *Site) Serve(ctx context.Context, program Program) error {
	status := share(func(ctx context.Context) (Status, error) {
		at := time.Now()
		status, err := program.Status(ctx)
		status.at = at
		return status, err
	})
	samples := newLive(status, program.Log)
	handler, err := s.handler(program, samples, &answers{status: status})
	if err != nil {
		s.Close()
		return err
	}
	s.server.Handler = handler
	ctx, stop := context.WithCancel(ctx)
	var sampler sync.WaitGroup
	sampler.Go(func() { samples.run(ctx) })
	defer sampler.Wait()
	defer stop()
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if s.server.Shutdown(grace) != nil {
			s.server.Close()
		}
	})()
	if s.server.TLSConfig != nil {
		err = s.server.ServeTLS(s.listener, "", "")
	} else {
		err = s.server.Serve(s.listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}
