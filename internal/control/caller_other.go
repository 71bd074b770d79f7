//go:build !linux

package control

import "net"

// identify knows nobody on this system.
func identify(net.Conn) caller { return caller{} }
