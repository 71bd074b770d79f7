package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/teredo-suite/teredo/internal/traffic"
	"github.com/teredo-suite/teredo/tunnel"
)

// outerHeaders are the bytes of the headers of IPv4 and UDP around each packet.
const outerHeaders = 20 + 8

// hostTraffic is the history of the host's traffic. The zero value is empty.
type hostTraffic struct {
	keeper atomic.Pointer[traffic.Keeper] // nil until the program is set up, and where there are no counters
}

// open goes on with the history in a file. carried tells the traffic of the tunnel, whose interface has the name, or which has none when
// that is empty. The program may not be confined yet. Without counters it works as well.
func (h *hostTraffic) open(path, ifname string, carried func() (all, byKernel tunnel.Traffic), log *slog.Logger) (close func()) {
	if !traffic.Supported {
		return func() {}
	}
	source, err := traffic.Open(ifname, func() (inner, outer uint64) { return withHeaders(carried()) })
	if err != nil {
		log.Warn("cannot keep a history of this host's traffic", "error", err)
		return func() {}
	}
	h.keeper.Store(traffic.NewKeeper(path, source.Read, log))
	return source.Close
}

// withHeaders is how many bytes the IPv6 packets of the tunnel had, and the IPv4 packets around those of them that the program has
// carried: what the kernel carries by itself does not pass by its counters of IPv4.
func withHeaders(all, byKernel tunnel.Traffic) (inner, outer uint64) {
	inner = all.SentBytes + all.ReceivedBytes
	packets := all.SentPackets + all.ReceivedPackets - byKernel.SentPackets - byKernel.ReceivedPackets
	return inner, inner - byKernel.SentBytes - byKernel.ReceivedBytes + packets*outerHeaders
}

// keep keeps the history until ctx ends. Then it calls end, with which the tunnel goes, and the counters of its interface.
func (h *hostTraffic) keep(ctx context.Context, end func()) error {
	if k := h.keeper.Load(); k != nil {
		return k.Run(ctx, end)
	}
	<-ctx.Done()
	end()
	return nil
}

// answer is the history by day.
func (h *hostTraffic) answer(context.Context) (any, error) {
	if k := h.keeper.Load(); k != nil {
		return k.Report(), nil
	}
	return new(traffic.History).Report(time.Now()), nil
}

// summary is the history in short.
func (h *hostTraffic) summary() (s traffic.Summary) {
	if k := h.keeper.Load(); k != nil {
		s = k.Report().Summary()
	}
	return s
}
