//go:build unix

package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// readReady reads from a kernel socket, and holds a buffer only while there is something in it. The first result is false for
// connections of another kind.
func (b *buffers) readReady(from net.Conn, write func([]byte) error) (kernel bool, err error) {
	socket, ok := from.(*net.TCPConn)
	if !ok {
		return false, nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true, err
	}
	for {
		var buffer *[large]byte
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			buffer = b.take()
			n, failed = unix.Read(int(fd), buffer[:])
			for failed == syscall.EINTR {
				n, failed = unix.Read(int(fd), buffer[:])
			}
			if failed == syscall.EAGAIN {
				b.give(buffer)
				return false
			}
			return true
		})
		switch {
		case err != nil: // nothing was read, and there is no buffer
			return true, err
		case failed != nil:
			err = failed
		case n > 0:
			err = write(buffer[:n])
		}
		b.give(buffer)
		if err != nil || n <= 0 {
			return true, err
		}
	}
}
