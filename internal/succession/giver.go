package succession

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
)

// Invocation is how a program was started.
type Invocation struct {
	Format  int      `json:"format"`
	Program string   `json:"program"` // name
	Args    []string `json:"args"`    // without the name
	Env     []string `json:"env"`
	Folder  string   `json:"folder"`
	PID     int      `json:"pid"`
	UID     int      `json:"uid"`
	Unit    string   `json:"unit"` // of systemd that it is the main process of; empty: none
}

// Giver is the end of the process that is to be replaced. The first error of any of its methods is that of all later ones.
type Giver struct {
	conn *net.UnixConn
	err  error
}

// NewGiver returns the giver at the end of a connection.
func NewGiver(conn *net.UnixConn) *Giver { return &Giver{conn: conn} }

// Introduce says how this process was started, and gives its standard error. It waits until a new process asks for the rest.
func (g *Giver) Introduce(i Invocation, stderr *os.File) error {
	i.Format = format
	text, err := json.Marshal(i)
	if err != nil {
		return err
	}
	g.send(invocation, text, int(stderr.Fd()))
	if g.err == nil {
		_, g.err = expect(g.conn, ask, 0)
	}
	return g.err
}

func (g *Giver) send(k kind, payload []byte, fd int) {
	if g.err == nil {
		g.err = send(g.conn, k, payload, fd)
	}
}

// File gives a file descriptor under a name. share calls its argument with the descriptor, which is open meanwhile.
func (g *Giver) File(name string, share func(use func(fd int) error) error) {
	if g.err == nil {
		g.err = share(func(fd int) error { return send(g.conn, file, []byte(name), fd) })
	}
}

// UDP gives sockets, which are bound to the same address.
func (g *Giver) UDP(conns ...*udp.Conn) {
	for n, c := range conns {
		g.File(nameOfSocket(c.LocalAddr(), n), c.Share)
	}
}

// TUN gives the queues of the interface with a name.
func (g *Giver) TUN(name string, queues ...tun.Device) {
	for n, q := range queues {
		if q, ok := q.(interface {
			Share(use func(fd int) error) error
		}); ok {
			g.File(nameOfQueue(name, n), q.Share)
		}
	}
}

// Listener gives a listening socket under a name.
func (g *Giver) Listener(name string, l interface{ File() (*os.File, error) }) {
	g.File(name, func(use func(fd int) error) error {
		f, err := l.File()
		if err != nil {
			return err
		}
		defer f.Close()
		raw, err := f.SyscallConn()
		if err != nil {
			return err
		}
		var result error
		return errors.Join(raw.Control(func(fd uintptr) { result = use(int(fd)) }), result)
	})
}

// Data gives a value under a name.
func (g *Giver) Data(name string, v any) {
	text, err := json.Marshal(v)
	if err != nil && g.err == nil {
		g.err = fmt.Errorf("tell %s: %w", name, err)
	}
	g.send(data, append(append([]byte(name), 0), text...), -1)
}

// Records gives records, of which the new process takes one message at a time.
func (g *Giver) Records(some []byte) error {
	g.send(records, some, -1)
	return g.err
}

// Finish says that all is given, and waits until the new process has taken over, or has ended. It returns the process ID of that.
func (g *Giver) Finish() (pid int, err error) {
	g.send(end, nil, -1)
	if g.err != nil {
		return 0, g.err
	}
	text, err := expect(g.conn, taken, 0)
	if err == nil {
		pid, err = strconv.Atoi(string(text))
	}
	g.err = err
	return pid, err
}

// Leave tells the new process that this one ends. It must end then, and undo nothing.
func (g *Giver) Leave() error {
	g.send(leaving, nil, -1)
	return g.err
}

// Refuse tells the new process why it gets nothing.
func (g *Giver) Refuse(why error) { g.send(refusal, []byte(why.Error()), -1) }

func nameOfSocket(local netip.AddrPort, n int) string { return fmt.Sprintf("udp %v %d", local, n) }
func nameOfQueue(name string, n int) string           { return fmt.Sprintf("tun %s %d", name, n) }
