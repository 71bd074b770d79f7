package control

import (
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// identify asks the kernel who has made a connection.
func identify(c net.Conn) (who caller) {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return caller{}
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return caller{}
	}
	// Where it fails nobody is known.
	_ = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return
		}
		who = caller{known: true, uid: cred.Uid, groups: append(supplementary(fd), cred.Gid)}
	})
	return who
}

// supplementary are the groups of the peer besides its own.
func supplementary(fd uintptr) []uint32 {
	groups := make([]uint32, 32)
	for {
		size := uint32(len(groups)) * 4
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4]
		case errno != unix.ERANGE || size/4 <= uint32(len(groups)):
			return nil
		}
		groups = make([]uint32, size/4)
	}
}
