//go:build linux || darwin || freebsd

package control

import "net"

// shut are the permissions that the socket lacks: every user may connect to it.
const shut = 0o111

// identify asks the kernel who has made a connection. Where that fails nobody is known.
func identify(c net.Conn) (who caller) {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return caller{}
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return caller{}
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := credentials(fd); err == nil {
			who = cred
		}
	})
	return who
}
