package control

import (
	"net"
	"os"
)

// identify knows that whoever gets an answer has read the token, as the user of this process can.
func identify(net.Conn) caller { return caller{known: true, uid: uint32(os.Geteuid())} }
