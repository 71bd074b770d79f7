package neighbor_test

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/neighbor"
)

// found is a relay with one client, which is found when it is looked for.
type found struct{ seeks atomic.Int32 }

func (f *found) Possible(netip.Addr) bool { return true }
func (f *found) Live(netip.Addr) bool     { return f.seeks.Load() > 0 }
func (f *found) Seek(_, _ netip.Addr) bool {
	f.seeks.Add(1)
	return true
}

// wire is one end of a link that goes down once before the first frame comes.
type wire struct {
	net.Conn
	down atomic.Bool
}

func (w *wire) Read(b []byte) (int, error) {
	if !w.down.Swap(true) {
		return 0, syscall.ENETDOWN
	}
	return w.Conn.Read(b)
}

// A proxy at work survives that the interface is down, answers for a client once it has been found, although the router does not ask
// again, and ends when it is told to.
func TestRun(t *testing.T) {
	router, interfaceEnd := net.Pipe()
	defer router.Close()
	clients := new(found)
	r := neighbor.NewRunner(&wire{Conn: interfaceEnd}, "eth0", neighbor.Link{}, clients)
	r.SetLink(neighbor.Link{MAC: relayMAC, Local: relay})
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	if err := router.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := router.Write(solicitation(t, gateway, client)); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 200)
	n, err := router.Read(frame)
	if err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, frame[:n])
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if s := r.Status(); s.Interface != "eth0" || s.Answered != 1 || len(s.Drops) > 0 || clients.seeks.Load() != 1 {
		t.Errorf("status %+v, looked for %d times", s, clients.seeks.Load())
	}
}
