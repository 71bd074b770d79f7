package tunnel_test

import (
	"net"
	"net/netip"
	"os"

	"github.com/teredo-suite/teredo/tunnel"
)

// A program brings its own sockets and its own IPv6 stack. It names no type of an internal package.
func ExampleNewRelay() {
	relay := tunnel.NewRelay(tunnel.RelayConfig{Devices: []tunnel.Device{closedDevice{}}, Conns: []tunnel.Conn{closedConn{}}, Capacity: 4096})
	_ = relay.Run // carries packets until its context ends
	// Output:
}

type closedConn struct{}

func (closedConn) ReadBatch([]tunnel.Message) (int, error)  { return 0, net.ErrClosed }
func (closedConn) WriteBatch([]tunnel.Message) (int, error) { return 0, net.ErrClosed }
func (closedConn) LocalAddr() netip.AddrPort                { return netip.AddrPort{} }
func (closedConn) Offloads() tunnel.ConnOffloads            { return tunnel.ConnOffloads{} }
func (closedConn) Close() error                             { return nil }

type closedDevice struct{}

func (closedDevice) ReadBatch([]tunnel.Packet) (int, error)   { return 0, os.ErrClosed }
func (closedDevice) WriteBatch(packets [][]byte) (int, error) { return 0, os.ErrClosed }
func (closedDevice) Offloads() tunnel.DeviceOffloads          { return tunnel.DeviceOffloads{} }
func (closedDevice) Close() error                             { return nil }
