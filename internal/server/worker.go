package server

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/udp"
)

const (
	batch = 64 // datagrams for one system call

	// receivePause is a pause after an error, so that a socket that always fails does not use the whole processor.
	receivePause = 100 * time.Millisecond
)

// worker handles the datagrams of one socket. It owns its buffers: nothing is allocated per datagram. It shares no line of the cache with
// others.
type worker struct {
	_ cpu.CacheLinePad
	*Server
	conns    []conn // sockets by address
	local    int    // the address of the one to receive from
	native   nativeSender
	counters *counters
	in       []udp.Message
	built    [][]byte         // one buffer for each message in
	out      [2][]udp.Message // by the address that they leave from; their payloads are in built
	_        cpu.CacheLinePad
}

// newWorker makes the worker of the socket that a group has at an address.
func newWorker(s *Server, group, local int, native nativeSender) *worker {
	conns := s.groups[group]
	w := &worker{Server: s, conns: conns, local: local, native: native, counters: &s.counters[group*len(conns)+local]}
	w.in = make([]udp.Message, batch)
	w.built = make([][]byte, batch)
	for i := range batch {
		w.built[i] = make([]byte, 0, MaxOutput)
	}
	for local := range w.out {
		w.out[local] = make([]udp.Message, 0, batch)
	}
	return w
}

// run ends when the socket is closed.
func (w *worker) run(ctx context.Context) {
	failing := false
	for {
		n, err := w.conns[w.local].ReadBatch(w.in)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		w.process(n)
		if err == nil {
			failing = false
			continue
		}
		w.counters.receiveErrors.Add(1)
		if !failing { // only the first error in a row
			w.log.Warn("cannot receive datagrams", "address", w.address(), "error", err)
		}
		failing = true
		select {
		case <-ctx.Done():
		case <-time.After(receivePause):
		}
	}
}

// process handles the first n messages and sends the output.
func (w *worker) process(n int) {
	now := int64(time.Since(w.started))
	for i, m := range w.in[:n] {
		v := w.handler.Handle(w.local, m.Remote, m.Buf[:m.N], w.built[i])
		if v.Action != Drop && w.sources != nil && !w.sources.Allow(now, source(m.Remote)) {
			v.Action, v.Reason = Drop, drop.Budget
		}
		w.carryOut(v)
	}
	for local := range w.out {
		w.flush(local)
	}
}

// source returns the IPv4 address whose budget a datagram uses.
func source(from netip.AddrPort) uint64 {
	a := from.Addr().As4()
	return uint64(binary.BigEndian.Uint32(a[:]))
}

func (w *worker) carryOut(v Verdict) {
	if v.Kind == Solicitation {
		w.counters.solicitations.Add(1)
	}
	switch v.Action {
	case Drop:
		w.counters.drops.Count(v.Reason)
	case Send:
		w.counters.udp[v.Kind].Add(1)
		if v.Cone {
			w.counters.cone.Add(1)
		}
		w.out[v.Local] = append(w.out[v.Local], udp.Message{Buf: v.Payload, N: len(v.Payload), Remote: v.To})
	case Native:
		if w.native.Send(v.To.Addr(), v.Payload) != nil {
			w.counters.drops.Count(drop.NoRoute)
			return
		}
		w.counters.ipv6[v.Kind].Add(1)
	}
}

// flush sends the collected datagrams of one address. Those that the kernel refuses are counted and not repeated, as if they
// had been lost on the way.
func (w *worker) flush(local int) {
	if len(w.out[local]) == 0 {
		return
	}
	sent, _ := w.conns[local].WriteBatch(w.out[local])
	if refused := len(w.out[local]) - sent; refused > 0 {
		w.counters.drops.Add(drop.SendFailed, uint64(refused))
	}
	w.out[local] = w.out[local][:0]
}

// address is the bound address of this worker, for the log.
func (w *worker) address() netip.Addr {
	if w.local == Secondary {
		return w.cfg.Secondary
	}
	return w.cfg.Primary
}
