package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// mostDatagram is the size of the largest UDP datagram that the proxy carries, in bytes. Larger ones are dropped.
const mostDatagram = 16 << 10

// isPassing reports whether an error of a UDP socket tells of a datagram that was sent before, and not of the socket.
func isPassing(err error) bool {
	for _, passing := range []error{
		os.ErrDeadlineExceeded, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.EMSGSIZE, syscall.ENOBUFS,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// sessions carry the datagrams of many clients of one UDP port to a target. Each client has a socket of its own toward the target, so
// that answers find back.
type sessions struct {
	proxy  *Proxy
	conn   net.PacketConn
	kind   Kind
	public bool // the clients are strangers
	dial   func(context.Context) (net.Conn, error)

	mu   sync.Mutex
	open map[netip.AddrPort]*session
}

// session is what one client has.
type session struct {
	client netip.AddrPort
	conn   atomic.Pointer[net.Conn] // nil until it is open
	moved  atomic.Int64             // when the last datagram came or went, in nanoseconds since the proxy began
}

func (p *Proxy) newSessions(conn net.PacketConn, kind Kind, dial func(context.Context) (net.Conn, error)) *sessions {
	return &sessions{proxy: p, conn: conn, kind: kind, dial: dial, open: make(map[netip.AddrPort]*session)}
}

// serve carries datagrams until the port is closed.
func (s *sessions) serve() error {
	buffer := make([]byte, mostDatagram+1)
	for {
		n, from, err := s.conn.ReadFrom(buffer)
		switch {
		case err != nil && !isPassing(err):
			return err
		case err != nil, n > mostDatagram:
			continue
		}
		s.take(from, buffer[:n])
	}
}

// take carries a datagram of a client. The first one of a session waits until the session is open, and the next ones are lost until then.
func (s *sessions) take(from net.Addr, datagram []byte) {
	client := endpointOf(from)
	s.mu.Lock()
	known, ok := s.open[client]
	s.mu.Unlock()
	if ok {
		if conn := known.conn.Load(); conn != nil {
			s.send(known, *conn, datagram)
		}
		return
	}
	var source netip.Addr
	begin := s.proxy.begin
	if s.public {
		begin, source = s.proxy.beginPublic, client.Addr()
	}
	end, err := begin(s.kind, source)
	if err != nil {
		s.proxy.refused(s.kind.String(), from, err)
		return
	}
	added := &session{client: client}
	s.mu.Lock()
	s.open[client] = added
	s.mu.Unlock()
	first := append([]byte(nil), datagram...)
	s.proxy.tasks.Go(func() {
		defer end()
		s.run(added, from, first)
		s.mu.Lock()
		delete(s.open, client)
		s.mu.Unlock()
	})
}

// run opens a session and carries answers until it is idle.
func (s *sessions) run(c *session, client net.Addr, first []byte) {
	conn, err := s.dial(s.proxy.ctx)
	if err != nil {
		s.proxy.refused(s.kind.String(), client, err)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(s.proxy.ctx, func() { conn.Close() })()
	s.send(c, conn, first)
	c.conn.Store(&conn)
	buffer := make([]byte, mostDatagram+1)
	for {
		idle := time.Since(s.proxy.began) - time.Duration(c.moved.Load())
		if idle >= datagramIdle || conn.SetReadDeadline(time.Now().Add(datagramIdle-idle)) != nil {
			return
		}
		n, err := conn.Read(buffer)
		switch {
		case err != nil && !isPassing(err):
			return
		case err != nil, n > mostDatagram:
			continue
		}
		c.moved.Store(int64(time.Since(s.proxy.began)))
		if _, err := s.conn.WriteTo(buffer[:n], client); err == nil {
			s.proxy.counts.carried(!s.public, n)
		}
	}
}

// send sends a client's datagram. UDP promises nothing, so an error is as good as a loss.
func (s *sessions) send(c *session, conn net.Conn, datagram []byte) {
	c.moved.Store(int64(time.Since(s.proxy.began)))
	if _, err := conn.Write(datagram); err == nil {
		s.proxy.counts.carried(s.public, len(datagram))
	}
}
