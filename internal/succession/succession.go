// Package succession gives what a running program has to a new process that takes its place: sockets, the TUN device, and what it
// knows. So a program is upgraded without a gap.
//
// The two talk over a Unix socket. The old process, a Giver, first says how it was started. A new process that was started in the same
// way asks for everything, sets itself up with it, and says that it has taken over. Then the old process leaves. Until that moment it
// does its work as before, and if the new process fails it simply goes on.
//
// Both processes read the same sockets for a moment, and each packet goes to one of them.
package succession

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// format is the version of the messages. A change that an older process would misunderstand takes another number.
const format = 1

const (
	mostPayload = 2 << 20          // bytes of a message
	mostFiles   = 1024             // that are given
	mostData    = 64               // names of data that are given
	stepTimeout = 30 * time.Second // for a message to be sent, or to come from a process that has it to hand
)

// kind says what a message is.
type kind byte

const (
	invocation kind = 'i' // from the old process: how it was started, with its standard error
	ask        kind = 'a' // from the new one: it wants everything
	file       kind = 'f' // a name, with a file descriptor
	data       kind = 'd' // a name, a zero byte, and JSON
	records    kind = 'r' // records, as many as there is room for
	end        kind = 'e' // all is given
	refusal    kind = 'x' // or nothing is: why
	taken      kind = 't' // from the new process: it carries everything; its process ID
	leaving    kind = 'l' // from the old one: it ends now
)

// ErrIncompatible tells that the other process speaks another version of the protocol.
var ErrIncompatible = errors.New("the running program is of a version that this one cannot replace while it runs")

// send sends a message, with a file descriptor unless fd is negative.
func send(conn *net.UnixConn, k kind, payload []byte, fd int) error {
	if len(payload) > mostPayload {
		return fmt.Errorf("a message of %d bytes is too long", len(payload))
	}
	message := binary.BigEndian.AppendUint32([]byte{byte(k)}, uint32(len(payload)))
	if err := conn.SetWriteDeadline(time.Now().Add(stepTimeout)); err != nil {
		return err
	}
	if err := write(conn, message, fd); err != nil || len(payload) == 0 { // the other end may be closed once it has all
		return err
	}
	_, err := conn.Write(payload)
	return err
}

// receive waits for a message, for as long as the timeout says, or without end if it is zero. The file is nil unless one came with it.
func receive(conn *net.UnixConn, timeout time.Duration) (k kind, payload []byte, f *os.File, err error) {
	deadline := time.Time{}
	if timeout != 0 {
		deadline = time.Now().Add(timeout)
	}
	if err := conn.SetReadDeadline(deadline); err != nil {
		return 0, nil, nil, err
	}
	var head [5]byte
	f, err = read(conn, head[:])
	if err != nil {
		return 0, nil, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > mostPayload {
		err = fmt.Errorf("a message of %d bytes is too long", size)
	} else {
		payload = make([]byte, size)
		_, err = io.ReadFull(conn, payload)
	}
	if err != nil {
		closeFile(f)
		return 0, nil, nil, err
	}
	return kind(head[0]), payload, f, nil
}

// expect is receive for a message of one kind without a file.
func expect(conn *net.UnixConn, want kind, timeout time.Duration) ([]byte, error) {
	k, payload, f, err := receive(conn, timeout)
	closeFile(f)
	switch {
	case err != nil:
		return nil, err
	case k == refusal:
		return nil, errors.New(string(payload))
	case k != want:
		return nil, fmt.Errorf("the other process has sent %q and should have sent %q", k, want)
	}
	return payload, nil
}

func closeFile(f *os.File) {
	if f != nil {
		f.Close()
	}
}
