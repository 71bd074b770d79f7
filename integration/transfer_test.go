//go:build linux

package integration

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// transferTimeout is generous: two cores serve all tests and all hosts of a lab.
const transferTimeout = 3 * time.Minute

// transfer sends size bytes over TCP and checks that the same bytes arrive.
func (w *world) transfer(from, to string, addr netip.Addr, size int64) {
	w.t.Helper()
	w.transferTo(from, to, addr, addr, size)
}

// transferTo is transfer where the receiver has another address at the sender's side than it has itself.
func (w *world) transferTo(from, to string, addr, own netip.Addr, size int64) {
	w.t.Helper()
	if err := w.tryTransfer(from, to, addr, own, size); err != nil {
		w.t.Errorf("transfer %s -> %s: %v", from, to, err)
	}
}

func (w *world) tryTransfer(from, to string, addr, own netip.Addr, size int64) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), transferTimeout)
	defer cancel()
	listener, err := w.Host(to).Listen(netip.AddrPortFrom(own, 0).String())
	if err != nil {
		return err
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).AddrPort().Port()
	out, err := w.Host(from).Dial(ctx, netip.AddrPortFrom(addr, port).String())
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := listener.Accept()
	if err != nil {
		return err
	}
	defer in.Close()
	deadline, _ := ctx.Deadline()
	if err := errors.Join(in.SetDeadline(deadline), out.SetDeadline(deadline)); err != nil {
		return err
	}
	return compare(in, out, size)
}

// compare writes size random bytes to out, reads in to its end, and compares hashes.
func compare(in, out net.Conn, size int64) error {
	sent := sha256.New()
	writeErr := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.MultiWriter(out, sent), io.LimitReader(rand.NewChaCha8([32]byte{}), size))
		writeErr <- errors.Join(err, out.Close())
	}()
	received := sha256.New()
	n, err := io.Copy(received, in)
	if err := errors.Join(err, <-writeErr); err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	if n != size || string(sent.Sum(nil)) != string(received.Sum(nil)) {
		return fmt.Errorf("%d bytes arrived of %d, or not the same ones", n, size)
	}
	return nil
}
