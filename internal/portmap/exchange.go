package portmap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	repeatAfter    = 250 * time.Millisecond // the first repetition; each takes twice as long as the one before (RFC 6886 §3.1)
	mostDatagrams  = 64                     // read in one exchange
	longestMessage = 2048                   // bytes; RFC 6887 §7 needs 1100, and SSDP fits one Ethernet frame
)

// request sends a request to a UDP port of the gateway until take accepts an answer.
func (g gateway) request(ctx context.Context, port uint16, message []byte, take func(answer []byte) bool) error {
	// A connected socket receives only what that port sent, and its error tells when nobody listens there.
	local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(g.internal.Addr(), 0))
	conn, err := net.DialUDP("udp4", local, net.UDPAddrFromAddrPort(netip.AddrPortFrom(g.addr, port)))
	if err != nil {
		return err
	}
	defer conn.Close()
	send := func() error {
		_, err := conn.Write(message)
		return err
	}
	return exchange(ctx, conn, send, func(_ netip.Addr, answer []byte) bool { return take(answer) })
}

// exchange sends at once, and again at growing intervals, until take accepts a datagram or ctx ends.
func exchange(ctx context.Context, conn *net.UDPConn, send func() error, take func(from netip.Addr, datagram []byte) bool) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	buf := make([]byte, longestMessage)
	pause, repeat := repeatAfter, time.Time{}
	for left := mostDatagrams; left > 0; {
		if now := time.Now(); !now.Before(repeat) {
			if err := send(); err != nil {
				return failed(ctx, err)
			}
			repeat, pause = now.Add(pause), 2*pause
			if err := conn.SetReadDeadline(repeat); err != nil {
				return failed(ctx, err)
			}
		}
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return failed(ctx, err)
		case take(from.Addr().Unmap(), buf[:n]):
			return nil
		}
		left--
	}
	return fmt.Errorf("none of %d datagrams is an answer", mostDatagrams)
}

// failed returns the error of an exchange, which ctx may have ended.
func failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
	return err
}
