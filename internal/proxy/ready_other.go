//go:build !unix

package proxy

import "net"

// newKernelSource is for systems whose sockets can be read when they are ready, and never waited in.
func newKernelSource(net.Conn, *buffers) source { return nil }
