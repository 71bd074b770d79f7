package control

import (
	"context"
	"net"
)

// caller is who asks. As an address it comes through whatever wraps the connection.
type caller struct {
	known  bool
	uid    uint32
	groups []uint32
	socket *net.UnixConn // the connection itself; nil: it is of another kind
}

// Network and String are those of a net.Addr.
func (caller) Network() string { return "unix" }
func (caller) String() string  { return "" }

// callers is a listener whose connections know who has made them.
type callers struct{ net.Listener }

func (l callers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	who := identify(c)
	who.socket, _ = c.(*net.UnixConn)
	return callerConn{c, who}, nil
}

type callerConn struct {
	net.Conn
	caller caller
}

func (c callerConn) RemoteAddr() net.Addr { return c.caller }

type callerKey struct{}

func withCaller(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, callerKey{}, c.RemoteAddr())
}

func callerOf(ctx context.Context) caller {
	who, _ := ctx.Value(callerKey{}).(caller)
	return who
}
