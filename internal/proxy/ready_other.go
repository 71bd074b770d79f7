//go:build !unix

package proxy

import "net"

// readReady is for systems whose sockets can be read when they are ready, and never waited in.
func (b *buffers) readReady(net.Conn, func([]byte) error) (kernel bool, err error) { return false, nil }
