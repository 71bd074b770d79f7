package web

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
)

// connections counts those that are open.
type connections struct{ atomic.Int64 }

// listener refuses connections beyond the bound at once, rather than have them wait behind others that do nothing.
type listener struct {
	net.Listener
	site *Site
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.site.open.Add(1) <= mostConnections {
			return &conn{Conn: c, site: l.site}, nil
		}
		l.site.open.Add(-1)
		l.site.refused[tooMany].Add(1)
		c.Close()
		// The next caller gets the place of one that keeps its connection without asking.
		l.site.server.SetKeepAlivesEnabled(false)
		l.site.server.SetKeepAlivesEnabled(true)
	}
}

// conn is a caller's connection.
type conn struct {
	net.Conn
	site    *Site
	pending atomic.Bool // something has come since the last request
	closed  sync.Once
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.site.refused[slowReader].Add(1)
	}
	return n, err
}

func (c *conn) Close() error {
	c.closed.Do(func() { c.site.open.Add(-1) })
	return c.Conn.Close()
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, connOf(c))
}

// connOf finds our connection below that of TLS.
func connOf(c net.Conn) *conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c.(*conn)
}

// follow counts connections that end with something that could not be read as a request.
func (s *Site) follow(c net.Conn, state http.ConnState) {
	switch ours := connOf(c); state {
	case http.StateActive:
		ours.pending.Store(true)
	case http.StateClosed:
		if ours.pending.Load() {
			s.refused[malformed].Add(1)
		}
	}
}
