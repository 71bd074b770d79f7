package tunnel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/internal/worker"
	"github.com/teredo-suite/teredo/teredo"
)

// fakePort is a UDP socket whose datagrams are put in and looked at by the test.
type fakePort struct {
	local  netip.AddrPort
	inbox  chan udp.Message
	closed chan struct{}

	mu      sync.Mutex
	batches [][]netip.AddrPort // where the datagrams of each batch went
}

func newFakePort(number uint16) *fakePort {
	return &fakePort{
		local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), number),
		inbox: make(chan udp.Message), closed: make(chan struct{}),
	}
}

func (f *fakePort) ReadBatch(ms []udp.Message) (int, error) {
	select {
	case <-f.closed:
		return 0, net.ErrClosed
	case ms[0] = <-f.inbox:
		return 1, nil
	}
}

func (f *fakePort) WriteBatch(ms []udp.Message) (int, error) {
	select {
	case <-f.closed:
		return 0, net.ErrClosed
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var to []netip.AddrPort
	for _, m := range ms {
		to = append(to, m.Remote)
	}
	f.batches = append(f.batches, to)
	return len(ms), nil
}

func (f *fakePort) LocalAddr() netip.AddrPort { return f.local }
func (f *fakePort) Offloads() udp.Offloads    { return udp.Offloads{} }
func (f *fakePort) Close() error              { close(f.closed); return nil }

func (f *fakePort) isClosed() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}

func (f *fakePort) receive(from netip.AddrPort, payload []byte) {
	f.inbox <- udp.Message{Buf: payload, N: len(payload), Remote: from}
}

// fakeDevice is a TUN device from which nothing comes.
type fakeDevice struct {
	delivered chan []byte
	closed    chan struct{}
}

func (d *fakeDevice) ReadBatch([]tun.Packet) (int, error) {
	<-d.closed
	return 0, os.ErrClosed
}

func (d *fakeDevice) WriteBatch(packets [][]byte) (int, error) {
	for _, p := range packets {
		d.delivered <- slices.Clone(p)
	}
	return len(packets), nil
}

func (d *fakeDevice) Offloads() tun.Offloads { return tun.Offloads{} }
func (d *fakeDevice) Close() error           { close(d.closed); return nil }

// socketRig is the tunnel of a client with fake sockets. Its random ports have the numbers 40001, 40002 and so on.
type socketRig struct {
	*outlet
	client  *peer.Client
	device  *fakeDevice
	service *fakePort
	random  []*fakePort
	refuse  bool
}

func newSocketRig() *socketRig {
	p := &socketRig{
		device:  &fakeDevice{delivered: make(chan []byte, 10), closed: make(chan struct{})},
		service: newFakePort(4096),
	}
	sockets, drops := newSockets(func() (Conn, error) {
		if p.refuse {
			return nil, errors.New("too many open files")
		}
		f := newFakePort(uint16(40001 + len(p.random)))
		p.random = append(p.random, f)
		return f, nil
	}), new(drop.Counters)
	sockets.serve(p.service)
	p.client = peer.NewClient(time.Now(), peer.Config{
		Capacity: 16, Drops: drops, Filter: teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")}},
		Extensions: peer.Extensions{SymmetricNAT: true, PortPreserving: true},
		Ports:      sockets.random(),
	})
	p.outlet = newTunnel([]Device{p.device}, 1, sockets, p.client, nil, drops).outlets.control
	p.workers, _ = worker.NewGroup(context.Background())
	return p
}

// end closes all sockets, and waits for their readers.
func (p *socketRig) end() {
	p.sockets.closeAll()
	_ = p.workers.Wait()
}

// Random ports are numbered from 1, as many as there may be; a number that was given back is given out again. No reader stays.
func TestOpenPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSocketRig()
		for i := range uint8(mostSockets) {
			via, port, ok := p.sockets.openRandom()
			if !ok || via != i+1 || port != 40001+uint16(i) {
				t.Fatalf("port %d: via %d, number %d, %v", i, via, port, ok)
			}
		}
		p.carryOut(time.Now()) // starts their readers
		if via, _, ok := p.sockets.openRandom(); ok {
			t.Errorf("one more port is open, via %d", via)
		}
		p.sockets.close(7)
		p.sockets.close(7)
		if !p.random[6].isClosed() {
			t.Error("the socket is not closed")
		}
		if via, port, ok := p.sockets.openRandom(); !ok || via != 7 || port != 40001+mostSockets {
			t.Errorf("the port opened again: via %d, number %d, %v", via, port, ok)
		}
		p.carryOut(time.Now())
		p.end()
		for i, f := range p.random {
			if !f.isClosed() {
				t.Errorf("socket %d is not closed", i)
			}
		}
		if !p.service.isClosed() {
			t.Error("the service port is not closed")
		}
	})
}

// A client that has no way to open ports, or whose system refuses, goes without.
func TestOpenPortFails(t *testing.T) {
	p := newSocketRig()
	p.refuse = true
	if _, _, ok := p.sockets.openRandom(); ok {
		t.Error("open, although refused")
	}
	p.sockets.open = nil
	if _, _, ok := p.sockets.openRandom(); ok {
		t.Error("open, without a way to open")
	}
	p.end()
}

// Datagrams leave from the ports that they are for, in order, each run of one port as a batch. What is for a port that was
// closed meanwhile is counted.
func TestSendFromSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSocketRig()
		p.sockets.openRandom()
		p.sockets.openRandom()
		to := func(n uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), n) }
		var messages []udp.Message
		vias := []uint8{0, 0, 1, 2, 2, 2, 0, 1, 9}
		for i := range vias {
			messages = append(messages, udp.Message{Remote: to(uint16(i))})
		}
		p.send(messages, vias)
		for name, c := range map[string]struct {
			port *fakePort
			want [][]netip.AddrPort
		}{
			"service":  {p.service, [][]netip.AddrPort{{to(0), to(1)}, {to(6)}}},
			"random 1": {p.random[0], [][]netip.AddrPort{{to(2)}, {to(7)}}},
			"random 2": {p.random[1], [][]netip.AddrPort{{to(3), to(4), to(5)}}},
		} {
			if !slices.EqualFunc(c.port.batches, c.want, slices.Equal[[]netip.AddrPort]) {
				t.Errorf("%s sends %v, want %v", name, c.port.batches, c.want)
			}
		}
		if sent, failed := p.sent.all.packets.Load(), p.drops.Get(drop.SendFailed); sent != 8 || failed != 1 {
			t.Errorf("%d sent, %d failed", sent, failed)
		}
		p.sockets.close(1)
		p.send(messages[2:3], vias[2:3])
		if failed := p.drops.Get(drop.SendFailed); failed != 2 {
			t.Errorf("%d failed", failed)
		}
		p.end()
	})
}

// What comes to a random port goes to the control goroutine with the number of the port; from the path of a trusted peer it
// goes to the device, and packets for that peer leave there.
func TestReceiveAtPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSocketRig()
		server, mapped := netip.MustParseAddr("198.18.0.1"), netip.MustParseAddrPort("198.18.0.7:4000")
		own := teredo.Address{Server: server, Mapped: netip.MustParseAddrPort("198.18.0.9:4096")}.Addr()
		other := teredo.Address{Server: server, Mapped: mapped}.Addr()
		now, c := time.Now(), p.client
		c.SetAddress(own)
		c.SetNAT(peer.NAT{Symmetric: true, PortPreserving: true})
		packet := teredo.AppendEchoRequest(nil, own, other, 1, 1, nil)
		c.Outbound(now, packet, &p.out)
		if len(p.random) != 1 {
			t.Fatalf("%d random ports", len(p.random))
		}
		sent := p.out.UDP.Datagrams()
		nonce := sent[len(sent)-1].Payload[teredo.HeaderLen:][:6]
		bubble := append(teredo.AppendBubble(nil, other, own, 255), nonce...)
		p.out.Reset()
		p.carryOut(time.Now())

		p.random[0].receive(mapped, bubble)
		q := <-p.queues[wanted].waiting
		if q.kind != inbound || q.via != 1 || q.from != mapped || string(q.packet) != string(bubble) {
			t.Fatalf("question %+v", q)
		}
		var parsed teredo.Packet
		if err := parsed.Parse(q.packet); err != nil {
			t.Fatal(err)
		}
		c.InboundVia(time.Now(), q.from, q.via, &parsed, &p.out)
		p.carryOut(time.Now())
		if want := [][]netip.AddrPort{{mapped}}; !slices.EqualFunc(p.random[0].batches, want, slices.Equal[[]netip.AddrPort]) {
			t.Errorf("the packet that waited leaves to %v", p.random[0].batches)
		}
		answer := teredo.AppendEchoReply(nil, other, packet)
		p.random[0].receive(mapped, answer)
		if got := <-p.device.delivered; string(got) != string(answer) {
			t.Errorf("delivered %x", got)
		}
		if to, via, v := p.table.Outgoing(packet, 1, len(packet), p.table.Stamp(time.Now())); v != peer.Carry || via != 1 || to != mapped {
			t.Errorf("to %v from port %d, %v", to, via, v)
		}
		p.end()
	})
}

// portRules open a random port at each tick.
type portRules struct{ p *socketRig }

func (r portRules) outbound(time.Time, []byte)                               {}
func (r portRules) inbound(time.Time, netip.AddrPort, uint8, *teredo.Packet) {}
func (r portRules) refresh(time.Time, []byte)                                {}
func (r portRules) tick(time.Time)                                           { r.p.sockets.openRandom() }
func (r portRules) reconcile(time.Time)                                      {}
func (r portRules) deadline() (time.Time, bool)                              { return time.Now().Add(time.Second), true }

// When the tunnel ends, every port is closed and no reader is left: the bubble of this test would not end.
func TestShutdownClosesPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSocketRig()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- p.run(ctx, portRules{p}, func() {}, job{"service port", func(context.Context) error { return p.receive(p.service, 0, batch) }})
		}()
		time.Sleep(10 * time.Second)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(p.random) < 10 {
			t.Errorf("%d ports were opened", len(p.random))
		}
		for i, f := range append(p.random, p.service) {
			if !f.isClosed() {
				t.Errorf("socket %d is not closed", i)
			}
		}
	})
}
