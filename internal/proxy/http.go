package proxy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"time"
)

const (
	mostHeader     = 16 << 10         // bytes of a request's header
	mostReply      = 256 << 10        // bytes of an answer's header
	answerTimeout  = 10 * time.Minute // for a target to begin its answer
	keptConnection = time.Minute      // how long an idle connection is kept for the next request
	via            = "1.1 teredo-client"
)

// httpProxy is the HTTP proxy (RFC 9110 §7.6, §9.3.6). Requests are parsed and written anew by package http, so that target and proxy
// agree on where each one ends.
type httpProxy struct {
	proxy   *Proxy
	forward httputil.ReverseProxy
}

// connKey is where the context of a request has its connection.
type connKey struct{}

// serveHTTP serves the clients of a listener until it is closed.
func (p *Proxy) serveHTTP(l net.Listener) error {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := splitHostPort(address)
			if err != nil {
				return nil, err
			}
			conn, err := p.dial(ctx, host, port)
			if err != nil {
				return nil, err
			}
			return &countedConn{conn, &p.counts}, nil
		},
		DisableCompression: true, MaxIdleConns: 64, IdleConnTimeout: keptConnection,
		ResponseHeaderTimeout: answerTimeout, MaxResponseHeaderBytes: mostReply,
	}
	defer transport.CloseIdleConnections()
	h := &httpProxy{proxy: p}
	quiet := log.New(io.Discard, "", 0) // mistakes of clients and targets are told to clients
	h.forward = httputil.ReverseProxy{
		Rewrite: h.rewrite, Transport: transport, FlushInterval: -1, BufferPool: (*httpBuffers)(&p.buffers), ErrorLog: quiet,
		ModifyResponse: func(r *http.Response) error { r.Header.Add("Via", via); return nil },
		ErrorHandler:   h.failed,
	}
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: handshakeTimeout, IdleTimeout: keptConnection, MaxHeaderBytes: mostHeader, ErrorLog: quiet,
		BaseContext: func(net.Listener) context.Context { return p.ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				p.tasks.Add(1)
				p.handshakes.begin(c)
			case http.StateIdle:
				p.handshakes.begin(c)
			case http.StateClosed, http.StateHijacked:
				p.handshakes.end(c)
				p.tasks.Done()
			}
		},
		DisableGeneralOptionsHandler: true,
	}
	defer server.Close()
	return server.Serve(l)
}

// countedConn counts the bytes of a connection to a target.
type countedConn struct {
	net.Conn
	counts *counts
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.counts.carried(true, n)
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.counts.carried(false, n)
	return n, err
}

// CloseWrite passes on the end of one direction of an upgraded connection.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// httpBuffers has the buffers for what httputil wants.
type httpBuffers buffers

func (b *httpBuffers) Get() []byte  { return (*buffers)(b).take()[:] }
func (b *httpBuffers) Put(p []byte) { (*buffers)(b).give((*[large]byte)(p)) }

// ServeHTTP does one request.
func (h *httpProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(net.Conn)
	h.proxy.handshakes.end(c)
	h.proxy.tasks.Add(1) // a request outlives its connection when it takes that over
	defer h.proxy.tasks.Done()
	if err := h.authenticate(c, r); err != nil {
		h.failed(w, r, err)
		return
	}
	if err := checkRequest(r); err != nil {
		h.failed(w, r, err)
		return
	}
	end, err := h.proxy.begin(HTTP, netip.Addr{})
	if err != nil {
		h.failed(w, r, err)
		return
	}
	if r.Method == http.MethodConnect {
		h.connect(w, r, end)
		return
	}
	defer end()
	w.Header()["Content-Type"] = nil // what the target does not tell is not guessed
	h.forward.ServeHTTP(w, r)
}

// checkRequest finds out whether a request is one for a proxy.
func checkRequest(r *http.Request) error {
	switch {
	case r.Method == http.MethodConnect:
		if _, _, err := splitHostPort(r.Host); err != nil {
			return refuse(ReasonProtocol, fmt.Sprintf("CONNECT takes a host and a port, such as ipv6.example.net:443, and %q is not that", r.Host))
		}
	case r.URL.Scheme == "https":
		return refuse(ReasonProtocol, "for https the client must use CONNECT")
	case r.URL.Scheme != "http" || r.URL.Host == "":
		return refuse(ReasonProtocol, "this is a proxy: a request must name the whole URL, such as http://ipv6.example.net/")
	}
	return nil
}

// authenticate checks the user and password of a request (RFC 7617) if it must have them.
func (h *httpProxy) authenticate(c net.Conn, r *http.Request) error {
	if !h.proxy.asksPassword() {
		return nil
	}
	scheme, coded, _ := strings.Cut(r.Header.Get("Proxy-Authorization"), " ")
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(coded))
	user, password, ok := strings.Cut(string(text), ":")
	if !strings.EqualFold(scheme, "Basic") || err != nil || !ok {
		return refuse(ReasonCredentials, "the proxy asks for a user and a password")
	}
	return h.proxy.allows(c.RemoteAddr(), user, password)
}

// rewrite completes a request to a target. The host in the URL is the one that counts (RFC 9112 §3.2.2).
func (h *httpProxy) rewrite(r *httputil.ProxyRequest) {
	r.Out.Host = r.In.URL.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Header.Add("Via", via)
}

// connect carries bytes between a client and a target.
func (h *httpProxy) connect(w http.ResponseWriter, r *http.Request, end func()) {
	host, port, err := splitHostPort(r.Host) // checkRequest has seen it
	var out net.Conn
	if err == nil {
		out, err = h.proxy.dial(r.Context(), host, port)
	}
	if err != nil {
		h.failed(w, r, err)
		end()
		return
	}
	c, early, err := hijack(w)
	if err == nil {
		_, err = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	}
	if err == nil && len(early) > 0 {
		var n int
		n, err = out.Write(early)
		h.proxy.counts.sent.Add(uint64(n))
	}
	if err != nil {
		if c != nil {
			reset(c)
		}
		reset(out)
		end()
		return
	}
	h.proxy.relay(c, out, end)
}

// hijack takes a client's connection, and what the client has sent already.
func hijack(w http.ResponseWriter) (c net.Conn, early []byte, err error) {
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early = make([]byte, buffered.Reader.Buffered())
	_, err = io.ReadFull(buffered.Reader, early)
	return c, early, errors.Join(err, c.SetDeadline(time.Time{}))
}

// failed answers a request that was not done, and says why.
func (h *httpProxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && h.proxy.ctx.Err() == nil {
		return // the client has gone
	}
	status := http.StatusBadGateway
	switch h.proxy.refused("http", r.Context().Value(connKey{}).(net.Conn).RemoteAddr(), err) {
	case ReasonTarget:
		status = http.StatusForbidden
	case ReasonTimeout:
		status = http.StatusGatewayTimeout
	case ReasonCredentials:
		status = http.StatusProxyAuthRequired
		w.Header().Set("Proxy-Authenticate", `Basic realm="teredo-client"`)
	case ReasonAttempts:
		status = http.StatusTooManyRequests
	case ReasonConnections, ReasonOffline:
		status = http.StatusServiceUnavailable
	case ReasonProtocol:
		status = http.StatusBadRequest
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.Error(w, err.Error(), status)
}
