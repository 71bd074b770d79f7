//go:build darwin || freebsd

package control

import "golang.org/x/sys/unix"

// credentials asks the kernel who has the other end of a Unix socket.
func credentials(fd uintptr) (caller, error) {
	const local = 0 // SOL_LOCAL, the level of the options of Unix sockets
	cred, err := unix.GetsockoptXucred(int(fd), local, unix.LOCAL_PEERCRED)
	if err != nil {
		return caller{}, err
	}
	groups := cred.Groups[:max(0, min(int(cred.Ngroups), len(cred.Groups)))]
	return caller{known: true, uid: cred.Uid, groups: groups}, nil
}
