package server

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/udp"
)

const (
	batch = 64 // datagrams for one system call

	// receivePause keeps a socket that fails at every call from taking the processor.
	receivePause = 100 * time.Millisecond
)

// worker moves the datagrams that arrive at one socket. It owns its buffers: nothing is allocated per datagram.
type worker struct {
	*Server
	conns  []conn // sockets by address
	local  int    // the address of the one to receive from
	native nativeSender
	in     []udp.Message
	built  [][]byte         // one buffer for each message in
	out    [2][]udp.Message // by the address they leave from; their payloads are in built
}

func newWorker(s *Server, conns []conn, local int, native nativeSender) *worker {
	w := &worker{Server: s, conns: conns, local: local, native: native}
	w.in = make([]udp.Message, batch)
	w.built = make([][]byte, batch)
	for i := range batch {
		w.built[i] = make([]byte, 0, MaxOutput)
	}
	for via := range w.out {
		w.out[via] = make([]udp.Message, 0, batch)
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
		if !failing { // once for a row of them
			w.log.Warn("cannot receive datagrams", "address", w.address(), "error", err)
		}
		failing = true
		select {
		case <-ctx.Done():
		case <-time.After(receivePause):
		}
	}
}

// process handles the first n messages and sends what comes of them.
func (w *worker) process(n int) {
	now := int64(time.Since(w.started))
	for i, m := range w.in[:n] {
		v := w.handler.Handle(w.local, m.Remote, m.Buf[:m.N], w.built[i])
		if v.Action != Drop && w.sources != nil && !w.sources.Allow(now, source(m.Remote)) {
			v.Action, v.Reason = Drop, drop.Budget
		}
		w.carryOut(v)
	}
	for via := range w.out {
		w.flush(via)
	}
}

// source is the IPv4 address whose budget a datagram is drawn from.
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
		w.out[v.Via] = append(w.out[v.Via], udp.Message{Buf: v.Payload, N: len(v.Payload), Remote: v.To})
	case Native:
		if w.native.Send(v.To.Addr(), v.Payload) != nil {
			w.counters.drops.Count(drop.NoRoute)
			return
		}
		w.counters.ipv6[v.Kind].Add(1)
	}
}

// flush sends what has collected for one address. What the kernel refuses is counted and forgotten, as if it had been
// lost on the way: a server without state has nothing to repeat it from.
func (w *worker) flush(via int) {
	if len(w.out[via]) == 0 {
		return
	}
	sent, _ := w.conns[via].WriteBatch(w.out[via])
	if refused := len(w.out[via]) - sent; refused > 0 {
		w.counters.drops.Add(drop.SendFailed, uint64(refused))
	}
	w.out[via] = w.out[via][:0]
}

// address is the bound address of this worker, for the log.
func (w *worker) address() netip.Addr {
	if w.local == Secondary {
		return w.cfg.Secondary
	}
	return w.cfg.Primary
}
