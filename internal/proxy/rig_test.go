package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// world is an IPv6 Internet on the loopback interface: a target with any address is the service of its port.
type world struct {
	mu       sync.Mutex
	services map[uint16]string // port there: address here
	dialled  []string
	public   map[uint16]net.Addr // where published ports are here
}

func newWorld() *world {
	return &world{services: make(map[uint16]string), public: make(map[uint16]net.Addr)}
}

func (w *world) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to := netip.MustParseAddrPort(address)
	w.mu.Lock()
	w.dialled = append(w.dialled, address)
	service, ok := w.services[to.Port()]
	w.mu.Unlock()
	switch {
	case to.Port() == 7: // a host that is silent
		<-ctx.Done()
		return nil, ctx.Err()
	case !ok:
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	return new(net.Dialer).DialContext(ctx, network[:3], service)
}

func (w *world) Listen(network, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w.public[portOf(address)] = l.Addr()
	return l, nil
}

// ListenPacket opens a port of this host's IPv6 address.
func (w *world) ListenPacket(network, address string) (net.PacketConn, error) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if port := portOf(address); port != 0 {
		w.public[port] = c.LocalAddr()
	}
	return &packetConn{c, w}, nil
}

func portOf(address string) uint16 { return netip.MustParseAddrPort(address).Port() }

// packetConn translates between addresses there and here: 2001:db8::1 stands for all services.
type packetConn struct {
	net.PacketConn
	world *world
}

func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	at := endpointOf(to)
	if at.Addr().Is4() {
		return c.PacketConn.WriteTo(b, to)
	}
	c.world.mu.Lock()
	service, ok := c.world.services[at.Port()]
	c.world.mu.Unlock()
	if !ok {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(service)))
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if err != nil {
		return n, from, err
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	for port, service := range c.world.services {
		if service == from.String() {
			return n, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), port)), nil
		}
	}
	return n, from, nil
}

// zone is a resolver.
type zone map[string][]string

func (n zone) LookupNetIP(_ context.Context, _, name string) (addrs []netip.Addr, err error) {
	found, ok := n[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	for _, a := range found {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, nil
}

// start runs a proxy until the test ends.
func start(t *testing.T, w *world, cfg Config, services ...Service) *Proxy {
	t.Helper()
	return startFor(t, w, cfg, nil, services...)
}

// startFor is start with an allow list for services.
func startFor(t *testing.T, w *world, cfg Config, from []netip.Prefix, services ...Service) *Proxy {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	if cfg.Resolver == nil {
		cfg.Resolver = zone{"web.example": {"2001:db8::1"}}
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Attach(w, services, from); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

func loopback() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")} }

// at is the address of the n-th thing that a proxy serves.
func (p *Proxy) at(n int) string {
	switch l := p.servers[n].Closer.(type) {
	case net.Listener:
		return l.Addr().String()
	case net.PacketConn:
		return l.LocalAddr().String()
	}
	panic("what is this?")
}

// serve has every connection to a port of the IPv6 Internet handled.
func (w *world) serve(t *testing.T, port uint16, handle func(*net.TCPConn)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.services[port] = l.Addr().String()
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); tasks.Wait() })
}

// echo sends back what comes.
func echo(c *net.TCPConn) { io.Copy(c, c) }

// echoDatagrams sends datagrams back.
func (w *world) echoDatagrams(t *testing.T, port uint16) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if port != 0 {
		w.services[port] = c.LocalAddr().String()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			c.WriteTo(b[:n], from)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.TCPConn)
}

// exchange sends a question and reads an answer of the same length.
func exchange(c net.Conn, question string) error {
	if _, err := io.WriteString(c, question); err != nil {
		return err
	}
	answer := make([]byte, len(question))
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if string(answer) != question {
		return fmt.Errorf("answer %q to %q", answer, question)
	}
	return nil
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

// refusals waits until a reason was counted so often.
func (p *Proxy) refusals(t *testing.T, r Reason, want uint64) {
	t.Helper()
	until(t, fmt.Sprintf("%d refusals: %v (%v)", want, r, p.Status().Refused), func() bool { return p.Status().Refused[r.String()] == want })
}

// ended reads until the end and reports whether that was a reset.
func ended(c net.Conn) (byReset bool, err error) {
	_, err = io.Copy(io.Discard, c)
	if errors.Is(err, syscall.ECONNRESET) {
		return true, nil
	}
	return false, err
}

// isReset reports whether a new connection to an address is reset.
func isReset(t *testing.T, address string) bool {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		return errors.Is(err, syscall.ECONNRESET)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	byReset, _ := ended(c)
	return byReset
}

// lab is the filter of a laboratory with public addresses from these ranges.
var lab = teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("203.0.113.0/24")}}
