package cli

import (
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/succession"
)

// connected returns the two ends of a connection.
func connected(t *testing.T) (ends [2]*net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		ends[i] = conn.(*net.UnixConn)
	}
	return ends
}

// The process that takes the place of an overloaded one announces nothing until there has been calm for as long as the old one would
// have waited.
func TestOverloadIsInherited(t *testing.T) {
	old, heir := newAnnounced(slog.New(slog.DiscardHandler), DrainFlags{}), newAnnounced(slog.New(slog.DiscardHandler), DrainFlags{})
	now := time.Now()
	for second := range 12 {
		old.machine.Observe(now.Add(time.Duration(second-12)*time.Second), announce.Load{Budgets: uint64(second) * 1000})
	}
	ends := connected(t)
	given := make(chan error, 1)
	go func() {
		g := succession.NewGiver(ends[0])
		err := g.Introduce(succession.Invocation{}, os.Stderr)
		old.giveTo(g)
		_, finished := g.Finish() // fails when the connection ends
		if err == nil && finished == nil {
			err = g.Leave()
		}
		given <- err
	}()
	if _, stderr, err := succession.ReadInvocation(ends[1]); err != nil {
		t.Fatal(err)
	} else {
		stderr.Close()
	}
	h, err := succession.Inherit(ends[1])
	if err != nil {
		t.Fatal(err)
	}
	heir.inherit(h)
	heir.Ready()
	if s := heir.Status(); s.WithdrawnReason != announce.Budgets || len(heir.changes) != 0 {
		t.Errorf("status %+v, changes %v", s, heir.changes)
	}
	if err := h.TakeOver(); err != nil {
		t.Error(err)
	}
	if err := <-given; err != nil {
		t.Error(err)
	}
	for second := range 58 {
		heir.machine.Observe(now.Add(time.Duration(second)*time.Second), announce.Load{})
	}
	if why := heir.machine.Withdrawn(); why != announce.Budgets {
		t.Errorf("withdrawn for %q before a minute is over", why)
	}
	heir.machine.Observe(now.Add(time.Minute), announce.Load{})
	if why := heir.machine.Withdrawn(); why != "" {
		t.Errorf("withdrawn for %q after a minute", why)
	}
}
