package succession

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
)

// Inheritance is what a new process gets of the one that it replaces. Nil is that of a process that replaces none: it is empty, and
// its methods do nothing.
type Inheritance struct {
	conn  *net.UnixConn
	files map[string]*os.File
	data  map[string]json.RawMessage
	chunk []byte // records that have come already
	more  bool   // records are yet to come
	fault error  // of the records
	owns  atomic.Bool
}

// ReadInvocation reads how the program at the other end was started, and its standard error, for a process that will be replaced by
// one that calls Inherit on the same connection.
func ReadInvocation(conn *net.UnixConn) (i Invocation, stderr *os.File, err error) {
	k, payload, f, err := receive(conn, stepTimeout)
	if err == nil && (k != invocation || f == nil) {
		err = ErrIncompatible
	}
	if err == nil {
		err = json.Unmarshal(payload, &i)
	}
	if err == nil && i.Format != format {
		err = ErrIncompatible
	}
	if err != nil {
		closeFile(f)
		return i, nil, err
	}
	return i, f, nil
}

// Inherit asks the process at the other end for everything. Records come later.
func Inherit(conn *net.UnixConn) (*Inheritance, error) {
	h := &Inheritance{
		conn: conn, files: make(map[string]*os.File), data: make(map[string]json.RawMessage), more: true,
	}
	err := send(conn, ask, nil, -1)
	for err == nil && h.more && h.chunk == nil {
		err = h.next()
	}
	if err != nil {
		h.discard()
		return nil, fmt.Errorf("take over from the running program: %w", err)
	}
	return h, nil
}

// next takes one message. What it does not know it leaves out: it may be of a later version.
func (h *Inheritance) next() error {
	k, payload, f, err := receive(h.conn, stepTimeout)
	if err != nil {
		return err
	}
	switch {
	case k == file && f != nil && len(h.files) < mostFiles:
		closeFile(h.files[string(payload)])
		h.files[string(payload)] = f
		return nil
	case k == data && len(h.data) < mostData:
		name, text, _ := bytes.Cut(payload, []byte{0})
		h.data[string(name)] = text
	case k == records:
		h.chunk = payload
	case k == end:
		h.more = false
	case k == refusal:
		err = errors.New(string(payload))
	case k == file, k == data:
		err = errors.New("the other process gives too much")
	}
	closeFile(f)
	return err
}

// File takes the file with a name, nil if there is none. The caller closes it.
func (h *Inheritance) File(name string) *os.File {
	if h == nil {
		return nil
	}
	f := h.files[name]
	delete(h.files, name)
	return f
}

// Data decodes the value with a name into what into points to. It reports whether there is one that can be used.
func (h *Inheritance) Data(name string, into any) bool {
	return h != nil && h.data[name] != nil && json.Unmarshal(h.data[name], into) == nil
}

// UDP takes the sockets that are bound to a local address; none if there are none.
func (h *Inheritance) UDP(local netip.AddrPort, o udp.Options) ([]*udp.Conn, error) {
	return takeAll(h, func(n int) string { return nameOfSocket(local, n) }, func(fd int) (*udp.Conn, error) {
		c, err := udp.Adopt(fd, o)
		if err == nil && c.LocalAddr() != local {
			err = errors.Join(fmt.Errorf("the inherited socket of %v is bound to %v", local, c.LocalAddr()), c.Close())
		}
		return c, err
	})
}

// TUN takes the queues of the interface with a name; none if there are none.
func (h *Inheritance) TUN(name string, mode offload.Mode) ([]tun.Device, error) {
	return takeAll(h, func(n int) string { return nameOfQueue(name, n) }, func(fd int) (tun.Device, error) { return tun.Adopt(fd, name, mode) })
}

// Listener takes the listening socket with a name, nil if there is none.
func (h *Inheritance) Listener(name string) (net.Listener, error) {
	f := h.File(name)
	if f == nil {
		return nil, nil
	}
	defer f.Close() // FileListener duplicates it
	return net.FileListener(f)
}

// Records yields the records, one message at a time. If they end early, TakeOver says why.
func (h *Inheritance) Records() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for h != nil && h.fault == nil {
			chunk := h.chunk
			h.chunk = nil
			if chunk != nil && !yield(chunk) || chunk == nil && !h.more {
				return
			}
			if h.chunk == nil && h.more {
				h.fault = h.next()
			}
		}
	}
}

// TakeOver has the other process leave. It must be called once, when this process does all that the other one did. If it fails the
// other one goes on, and this one has to end.
func (h *Inheritance) TakeOver() error {
	if h == nil {
		return nil
	}
	for range h.Records() { // nobody wants the rest
	}
	err := h.fault
	if err == nil {
		err = send(h.conn, taken, strconv.AppendInt(nil, int64(os.Getpid()), 10), -1)
	}
	if err == nil {
		_, err = expect(h.conn, leaving, stepTimeout)
	}
	h.discard()
	if err != nil {
		return fmt.Errorf("take over from the running program: %w", err)
	}
	h.owns.Store(true)
	return nil
}

// Owns reports whether what this process has is its own: it replaces none, or has taken over. Until then it must undo nothing when it
// ends, as the other process goes on.
func (h *Inheritance) Owns() bool { return h == nil || h.owns.Load() }

// discard closes the connection, and what nobody has taken.
func (h *Inheritance) discard() {
	h.conn.Close()
	for _, f := range h.files {
		f.Close()
	}
	clear(h.files)
}

// takeAll takes the files whose names have the numbers from 0 on, and has make take over their descriptors.
func takeAll[T io.Closer](h *Inheritance, name func(n int) string, make func(fd int) (T, error)) (all []T, err error) {
	for {
		f := h.File(name(len(all)))
		if f == nil {
			return all, nil
		}
		made, err := adopt(f, make)
		if err != nil {
			for _, other := range all {
				other.Close()
			}
			return nil, err
		}
		all = append(all, made)
	}
}

// adopt has make take over the descriptor of a file.
func adopt[T any](f *os.File, make func(fd int) (T, error)) (made T, err error) {
	defer f.Close()
	fd, err := duplicate(f)
	if err != nil {
		return made, err
	}
	return make(fd)
}
