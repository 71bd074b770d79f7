package control

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// credentials asks the kernel who has the other end of a Unix socket.
func credentials(fd uintptr) (caller, error) {
	cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return caller{}, err
	}
	return caller{known: true, uid: cred.Uid, groups: append(supplementary(fd), cred.Gid)}, nil
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
