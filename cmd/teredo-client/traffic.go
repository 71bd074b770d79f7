package main

import (
	"context"
	"time"

	"github.com/teredo-suite/teredo/internal/traffic"
	"github.com/teredo-suite/teredo/tunnel"
)

// outerHeaders are the bytes of the headers of IPv4 and UDP around each packet.
const outerHeaders = 20 + 8

// openTraffic opens the counters for the history of this host's traffic. The program may not be confined yet. Without them the client
// works as well.
func (c *client) openTraffic() (close func()) {
	if !traffic.Supported {
		return func() {}
	}
	source, err := traffic.Open(c.run.TUN, func() (inner, outer uint64) { return carried(c.running.Carried()) })
	if err != nil {
		c.cfg.Log.Warn("cannot keep a history of this host's traffic", "error", err)
		return func() {}
	}
	c.traffic = traffic.NewKeeper(c.run.StateFile("traffic"), source.Read, c.cfg.Log)
	return source.Close
}

// carried is how many bytes the IPv6 packets of the tunnel had, and the IPv4 packets around those of them that the program has carried:
// what the kernel carries by itself does not pass by its counters of IPv4.
func carried(all, byKernel tunnel.Traffic) (inner, outer uint64) {
	inner = all.SentBytes + all.ReceivedBytes
	packets := all.SentPackets + all.ReceivedPackets - byKernel.SentPackets - byKernel.ReceivedPackets
	return inner, inner - byKernel.SentBytes - byKernel.ReceivedBytes + packets*outerHeaders
}

// keepTraffic keeps the history until ctx ends. Then it calls end, with which the interface goes, and the interface's counters.
func (c *client) keepTraffic(ctx context.Context, end func()) error {
	if c.traffic == nil {
		<-ctx.Done()
		end()
		return nil
	}
	return c.traffic.Run(ctx, end)
}

// hostTraffic is the history of the host's traffic, empty until the client runs.
func (c *client) hostTraffic(context.Context) (any, error) {
	select {
	case <-c.started:
		if c.traffic != nil {
			return c.traffic.Report(), nil
		}
	default:
	}
	return new(traffic.History).Report(time.Now()), nil
}
