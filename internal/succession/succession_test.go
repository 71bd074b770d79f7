//go:build unix

package succession

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/leak"
	"github.com/teredo-suite/teredo/internal/udp"
)

func TestMain(m *testing.M) { leak.VerifyTestMain(m) }

// pair returns the two ends of a connection.
func pair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// giving runs the end of the old process, and returns what comes of it.
func giving(t testing.TB, conn *net.UnixConn, give func(*Giver) error) <-chan error {
	result := make(chan error, 1)
	go func() {
		g := NewGiver(conn)
		err := g.Introduce(Invocation{Program: "teredo-test", Args: []string{"run", "--port", "1"}, PID: 7}, os.Stderr)
		if err == nil {
			err = give(g)
		}
		if err != nil {
			conn.Close()
		}
		result <- err
	}()
	return result
}

// A new process learns how the old one was started, gets its socket, its listener, what it says and its records, and the old one leaves.
func TestSuccession(t *testing.T) {
	old, successor := pair(t)
	socket, err := udp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	result := giving(t, old, func(g *Giver) (err error) {
		g.UDP(socket)
		g.Listener("control /a", listener.(*net.TCPListener))
		g.Data("known", map[string]int{"answer": 42})
		g.Data("later version", "something")
		for _, r := range []string{"one", "two", "three"} {
			if err := g.Records([]byte(r)); err != nil {
				return err
			}
		}
		if pid, err = g.Finish(); err == nil {
			err = g.Leave()
		}
		return errors.Join(err, socket.Close(), listener.Close())
	})
	how, stderr, err := ReadInvocation(successor)
	if err != nil || how.Program != "teredo-test" || !slices.Equal(how.Args, []string{"run", "--port", "1"}) || how.PID != 7 {
		t.Fatalf("%+v, %v", how, err)
	}
	stderr.Close()
	h, err := Inherit(successor)
	if err != nil {
		t.Fatal(err)
	}
	conns, err := h.UDP(socket.LocalAddr(), udp.Options{})
	if err != nil || len(conns) != 1 || conns[0].LocalAddr() != socket.LocalAddr() {
		t.Fatalf("sockets %v, %v", conns, err)
	}
	if again, err := h.UDP(socket.LocalAddr(), udp.Options{}); err != nil || len(again) != 0 {
		t.Errorf("the socket is there twice: %v, %v", again, err)
	}
	if d, err := h.TUN("teredo", 0); len(d) > 0 || err != nil {
		t.Errorf("an interface that was not given: %v, %v", d, err)
	}
	l, err := h.Listener("control /a")
	if err != nil || l.Addr().String() != listener.Addr().String() {
		t.Fatalf("listener %v, %v", l, err)
	}
	defer l.Close()
	known := map[string]int{}
	if !h.Data("known", &known) || known["answer"] != 42 || h.Data("unknown", &known) || h.Data("later version", &known) {
		t.Errorf("data %v", known)
	}
	if h.Owns() {
		t.Error("the new process owns all before it has taken over")
	}
	var got []string
	for r := range h.Records() {
		got = append(got, string(r))
	}
	if want := []string{"one", "two", "three"}; !slices.Equal(got, want) {
		t.Errorf("records %q, want %q", got, want)
	}
	if err := h.TakeOver(); err != nil || !h.Owns() {
		t.Errorf("taken over: %v, owns %v", err, h.Owns())
	}
	if err := <-result; err != nil || pid != os.Getpid() {
		t.Errorf("the old process: %v, successor %d", err, pid)
	}
	// The old process has closed them, and the new one has them.
	if _, err := conns[0].WriteBatch([]udp.Message{{Buf: []byte("x"), N: 1, Remote: conns[0].LocalAddr()}}); err != nil {
		t.Error(err)
	}
	ms := make([]udp.Message, 1)
	if n, err := conns[0].ReadBatch(ms); n != 1 || err != nil {
		t.Errorf("%d datagrams, %v", n, err)
	}
	conns[0].Close()
}

// The old process goes on when the new one ends, whenever that is.
func TestSuccessorEnds(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *net.UnixConn){
		"before it reads anything": func(*testing.T, *net.UnixConn) {},
		"before it asks": func(t *testing.T, c *net.UnixConn) {
			_, f, err := ReadInvocation(c)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		},
		"with everything": func(t *testing.T, c *net.UnixConn) {
			_, f, err := ReadInvocation(c)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			if _, err := Inherit(c); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			old, successor := pair(t)
			result := giving(t, old, func(g *Giver) error {
				g.Data("known", 1)
				if err := g.Records(make([]byte, 1000)); err != nil {
					return err
				}
				_, err := g.Finish()
				return err
			})
			end(t, successor)
			successor.Close()
			if err := <-result; err == nil {
				t.Error("the old process thinks that it has a successor")
			}
		})
	}
}

// A new process fails, and so leaves the old one alone, when the old one ends or refuses.
func TestGiverEnds(t *testing.T) {
	for name, test := range map[string]struct {
		give func(*Giver) error
		want string
	}{
		"ends":                  {func(g *Giver) error { g.Data("known", 1); return errors.New("fault") }, "EOF"},
		"refuses":               {func(g *Giver) error { g.Refuse(errors.New("the relay drains")); return nil }, "the relay drains"},
		"ends amid the records": {func(g *Giver) error { return errors.Join(g.Records([]byte("one")), errors.New("fault")) }, "EOF"},
		"does not leave": {func(g *Giver) error {
			if _, err := g.Finish(); err != nil {
				return err
			}
			return errors.New("fault")
		}, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			old, successor := pair(t)
			result := giving(t, old, test.give)
			_, f, err := ReadInvocation(successor)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			h, err := Inherit(successor)
			if err == nil {
				err = h.TakeOver()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
			if h != nil && h.Owns() {
				t.Error("the new process owns what the old one has")
			}
			<-result
		})
	}
}

// A process that replaces none has nothing, and owns what it makes.
func TestNoInheritance(t *testing.T) {
	var h *Inheritance
	conns, err := h.UDP(netip.MustParseAddrPort("127.0.0.1:1"), udp.Options{})
	l, errListen := h.Listener("x")
	if len(conns) != 0 || l != nil || errors.Join(err, errListen) != nil || h.Data("x", new(int)) || !h.Owns() || h.TakeOver() != nil {
		t.Error("nil has something")
	}
	for range h.Records() {
		t.Error("nil has records")
	}
}

// Another version of the protocol is recognised, before anything is given.
func TestOtherFormat(t *testing.T) {
	for name, message := range map[string][]byte{
		"another number": frame(invocation, `{"format":2,"program":"teredo-relay"}`),
		"another kind":   frame('Z', `{"format":1}`),
		"no file":        frame(invocation, `{"format":1}`),
	} {
		t.Run(name, func(t *testing.T) {
			old, successor := pair(t)
			if name == "another number" {
				if err := send(old, invocation, message[5:], 2); err != nil {
					t.Fatal(err)
				}
			} else if _, err := old.Write(message); err != nil {
				t.Fatal(err)
			}
			if _, f, err := ReadInvocation(successor); !errors.Is(err, ErrIncompatible) || f != nil {
				t.Errorf("%v, %v", f, err)
			}
		})
	}
}

func frame(k kind, payload string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{byte(k)}, uint32(len(payload))), payload...)
}

// FuzzInherit has a new process read whatever comes. It ends, and has bounded what it keeps.
func FuzzInherit(f *testing.F) {
	f.Add(slices.Concat(frame(data, "known\x00{}"), frame(records, "abc"), frame(end, ""), frame(leaving, "")))
	f.Add(slices.Concat(frame(file, "udp 127.0.0.1:1 0"), frame(end, "")))
	f.Add(frame(refusal, "no"))
	f.Add([]byte{byte(data), 0xff, 0xff, 0xff, 0xff})
	f.Add(frame('Z', "later"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		old, successor := pair(t)
		go func() {
			_ = old.SetDeadline(time.Now().Add(10 * time.Second))
			go func() { _, _ = io.Copy(io.Discard, old) }() // until the other end is closed
			_, _ = old.Write(stream)
			_ = old.CloseWrite()
		}()
		h, err := Inherit(successor)
		if err != nil {
			return
		}
		if len(h.files) > mostFiles || len(h.data) > mostData {
			t.Errorf("%d files, %d data", len(h.files), len(h.data))
		}
		taken := h.TakeOver()
		if h.Owns() != (taken == nil) {
			t.Errorf("owns %v, %v", h.Owns(), taken)
		}
	})
}
