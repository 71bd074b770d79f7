//go:build unix

package succession

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// write sends the head of a message, with a file descriptor unless fd is negative.
func write(conn *net.UnixConn, head []byte, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = syscall.UnixRights(fd)
	}
	_, _, err := conn.WriteMsgUnix(head, rights, nil)
	return err
}

// read fills head, and returns the file that has come with it, if one has.
func read(conn *net.UnixConn, head []byte) (f *os.File, err error) {
	rights := make([]byte, syscall.CmsgSpace(4))
	n, size, _, _, err := conn.ReadMsgUnix(head, rights)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:size])
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			closeFile(f) // there is room for one only
			syscall.CloseOnExec(fd)
			f = os.NewFile(uintptr(fd), "inherited")
		}
	}
	if _, err = io.ReadFull(conn, head[n:]); err != nil {
		closeFile(f)
		return nil, err
	}
	return f, nil
}

// duplicate returns a descriptor of a file that the runtime does not know.
func duplicate(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	var result error
	err = raw.Control(func(old uintptr) { fd, result = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, os.NewSyscallError("fcntl", result))
}
