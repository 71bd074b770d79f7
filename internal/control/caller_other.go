//go:build unix && !linux && !darwin && !freebsd

package control

import (
	"net"
	"os"
)

// shut are the permissions that the socket lacks: only the user of the program, and root, may connect to it, as Go knows no way to
// ask these systems who has.
const shut = 0o177

// identify knows whom the socket's permissions let in.
func identify(net.Conn) caller { return caller{known: true, uid: uint32(os.Geteuid())} }
