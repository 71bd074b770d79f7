//go:build unix

package proxy

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// newKernelSource makes a source of a kernel socket. It is nil for connections of another kind.
func newKernelSource(from net.Conn, b *buffers) source {
	socket, ok := from.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	return &kernelSource{raw: raw, buffers: b}
}

// kernelSource reads from a kernel socket, and holds a buffer only while there is something in it.
type kernelSource struct {
	raw     syscall.RawConn
	buffers *buffers
	buffer  *[large]byte // what wait has read
	n       int
	failed  error // of reading
}

func (s *kernelSource) wait() error { return s.raw.Read(s.read) }

// read reads into a buffer, and reports whether there was something to read.
func (s *kernelSource) read(fd uintptr) bool {
	s.buffer = s.buffers.take()
	s.n, s.failed = unix.Read(int(fd), s.buffer[:])
	for s.failed == syscall.EINTR {
		s.n, s.failed = unix.Read(int(fd), s.buffer[:])
	}
	if s.failed == syscall.EAGAIN {
		s.drop()
		return false
	}
	return true
}

func (s *kernelSource) drop() {
	s.buffers.give(s.buffer)
	s.buffer = nil
}

func (s *kernelSource) pass(write func([]byte) error) error {
	more := false
	attempt := func(fd uintptr) bool { more = s.read(fd); return true }
	for {
		err := s.failed
		switch {
		case err != nil:
		case s.n <= 0:
			err = io.EOF
		default:
			err = write(s.buffer[:s.n])
		}
		s.drop()
		if err != nil {
			return err
		}
		if err := s.raw.Read(attempt); err != nil || !more {
			return err
		}
	}
}
