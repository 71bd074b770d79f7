package proxy

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/things-go/go-socks5/statute"
)

// FuzzSOCKS has clients say anything in a handshake. What the proxy takes for a request has a host that was sent.
func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x0bweb.example\x00\x50"))
	f.Add(append([]byte{5, 2, 0, 2}, request(statute.CommandAssociate, "2001:db8::1", 53)...))
	f.Add([]byte("\x05\xff\x05\x01\x00\x09"))
	p, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { p.Close() })
	f.Fuzz(func(t *testing.T, sent []byte) {
		r, err := p.negotiate(&script{Reader: bytes.NewReader(sent)})
		if err == nil && !bytes.Contains(sent, r.Bytes()[4:]) {
			t.Errorf("%x is taken for %+v", sent, r)
		}
	})
}

// script is a connection of a client that sends what it has and takes what comes.
type script struct {
	net.Conn
	*bytes.Reader
}

func (s *script) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s *script) Write(b []byte) (int, error) { return len(b), nil }
func (s *script) SetDeadline(time.Time) error { return nil }

// FuzzDatagram has clients of a UDP association send anything. Nothing goes where it must not.
func FuzzDatagram(f *testing.F) {
	for _, host := range []string{"2001:db8::1", "::1", "::ffff:127.0.0.1", "2002:7f00:1::"} {
		d := statute.Datagram{DstAddr: statute.AddrSpec{AddrType: statute.ATYPIPv6, IP: net.ParseIP(host), Port: 53}, Data: []byte("x")}
		f.Add(d.Bytes())
	}
	f.Add([]byte{0, 0, 0, statute.ATYPDomain, 0xff, 0, 53})
	p, err := New(Config{Resolver: zone{"me.example": {"::1"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { p.Close() })
	f.Fuzz(func(t *testing.T, b []byte) {
		sink := &sink{}
		a := &association{proxy: p, outside: sink, targets: make(map[netip.AddrPort]struct{}), names: make(map[string]resolved)}
		if a.send(b) == nil && !p.cfg.Filter.Reachable(sink.to.Addr()) {
			t.Errorf("%x goes to %v", b, sink.to)
		}
	})
}

// sink notes where a datagram is sent.
type sink struct {
	net.PacketConn
	to netip.AddrPort
}

func (s *sink) WriteTo(b []byte, to net.Addr) (int, error) {
	s.to = endpointOf(to)
	return len(b), nil
}
