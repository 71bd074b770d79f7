//go:build !race

package tunnel

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/cpu"

	"github.com/teredo-suite/teredo/internal/turns"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

// More workers of a relay do not make a packet dearer, whichever way it goes: all that each of them writes to is its own, and the entries
// of its clients.
func TestRelayScales(t *testing.T) {
	for _, way := range []string{"uplink", "receive"} {
		t.Run(way, func(t *testing.T) {
			turns.Test(t, func(workers int, next func(worker int) bool) { carryInTurns(t, way == "uplink", workers, next) })
		})
	}
}

// carryInTurns has so many workers of a relay carry a packet in each of their turns.
func carryInTurns(t *testing.T, up bool, workers int, next func(worker int) bool) {
	const clients = 7 // of each worker; odd, so that each has turns of every kind
	var ended sync.WaitGroup
	var devices []*turnDevice
	cfg := RelayConfig{Capacity: 1024, PermitIPv4: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")}}
	for worker := range workers {
		d := &turnDevice{worker: worker, next: next, up: up, ended: &ended, closed: make(chan struct{})}
		devices = append(devices, d)
		cfg.Devices, cfg.Conns = append(cfg.Devices, d), append(cfg.Conns, turnConn{d})
		ended.Add(1)
	}
	relay := NewRelay(cfg)
	for n := range workers * clients {
		f, mapped := connect(t, relay, n)
		to, from := teredo.AppendEchoRequest(nil, f.Local, f.Peer, 1, 1, make([]byte, 1000)), teredo.AppendEchoRequest(nil, f.Peer, f.Local, 1, 1, make([]byte, 1000))
		d := devices[n/clients]
		d.to, d.from = append(d.to, Packet{Head: to}), append(d.from, Message{Buf: from, N: len(from), Remote: mapped})
	}
	ctx, stop := context.WithCancel(t.Context())
	running := make(chan error)
	go func() { running <- relay.Run(ctx) }()
	ended.Wait()
	stop()
	if err := <-running; err != nil {
		t.Error(err)
	}
	all, _ := relay.Carried()
	read := uint64(0)
	for _, d := range devices {
		read += uint64(d.turns)
	}
	if carried := all.SentPackets + all.ReceivedPackets; carried != read || read == 0 {
		t.Errorf("%d of %d packets are carried, dropped: %v", carried, read, relay.dropped())
	}
}

// turnDevice is a queue of a TUN device and a socket. In each turn of its worker, a packet comes from one of them: to one client after the
// other, or from one after the other.
type turnDevice struct {
	_      cpu.CacheLinePad
	worker int
	next   func(worker int) bool
	up     bool // packets come from the TUN device
	to     []Packet
	from   []Message
	turns  int
	ended  *sync.WaitGroup
	over   bool
	closed chan struct{}
	_      cpu.CacheLinePad
}

// await waits for the next turn. It returns false when the relay is to stop.
func (d *turnDevice) await(turns bool) bool {
	if turns && !d.over {
		if d.next(d.worker) {
			return true
		}
		d.over = true
		d.ended.Done()
	}
	<-d.closed
	return false
}

func (d *turnDevice) ReadBatch(ps []Packet) (int, error) {
	if !d.await(d.up) {
		return 0, os.ErrClosed
	}
	ps[0] = d.to[d.turns%len(d.to)]
	d.turns++
	return 1, nil
}

func (d *turnDevice) WriteBatch(packets [][]byte) (int, error) { return len(packets), nil }
func (d *turnDevice) Offloads() DeviceOffloads                 { return DeviceOffloads{} }
func (d *turnDevice) Close() error                             { close(d.closed); return nil }

// turnConn is the socket beside a turnDevice.
type turnConn struct{ *turnDevice }

func (c turnConn) ReadBatch(ms []Message) (int, error) {
	if !c.await(!c.up) {
		return 0, net.ErrClosed
	}
	ms[0] = c.from[c.turns%len(c.from)]
	c.turns++
	return 1, nil
}

func (turnConn) WriteBatch(ms []Message) (int, error) { return len(ms), nil }
func (turnConn) LocalAddr() netip.AddrPort            { return netip.MustParseAddrPort("198.18.0.1:3545") }
func (turnConn) Offloads() udp.Offloads               { return udp.Offloads{} }
func (turnConn) Close() error                         { return nil }
