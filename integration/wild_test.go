//go:build linux

package integration

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/internal/wild"
	"github.com/teredo-suite/teredo/teredo"
)

// serveWildly answers at both addresses of the server as those of Microsoft do or, as a relay too, as that of trex.fi does.
// The function that it returns has the relay carry a packet of a native host.
func (w *world) serveWildly(relay bool) (relayed func(packet []byte)) {
	w.t.Helper()
	var mutex sync.Mutex
	server := wild.Server{Address: netip.MustParseAddr(lab.ServerAddr), Relay: relay}
	var sockets [2]net.PacketConn
	for i, addr := range []string{lab.ServerAddr, lab.ServerAddr2} {
		sockets[i] = w.socket("server", netip.AddrPortFrom(netip.MustParseAddr(addr), teredo.Port).String())
	}
	with := func(handle func(out *teredo.Outbox)) {
		mutex.Lock()
		defer mutex.Unlock()
		var out teredo.Outbox
		handle(&out)
		for _, d := range out.Datagrams() {
			// What is lost shows as a failed test.
			_, _ = sockets[d.Via].WriteTo(d.Payload, net.UDPAddrFromAddrPort(d.Remote))
		}
	}
	for i, socket := range sockets {
		go func() {
			buf := make([]byte, 2048)
			for {
				n, from, err := socket.ReadFrom(buf)
				if err != nil {
					// The test has ended and closed the socket.
					return
				}
				with(func(out *teredo.Outbox) {
					server.Handle(uint8(i), netip.MustParseAddrPort(from.String()), buf[:n], out)
				})
			}
		}()
	}
	return func(packet []byte) { with(func(out *teredo.Outbox) { server.Send(packet, out) }) }
}

// TestWildServer has our client probe and use servers as others have built them: their advertisements have bits after the
// prefix (W-RA-03), and bubbles come without an origin indication.
func TestWildServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	w.serveWildly(false)
	r := w.probe(lab.ServerAddr)
	if s := r.Servers[0]; !s.Works || !s.Works2 || r.NAT.Kind != "port-restricted" {
		t.Errorf("server %+v, NAT %+v", s, r.NAT)
	}
	w.startClient("client1", ours)
	_, addr2 := w.startClient("client2", ours)
	w.ping("client1", addr2)
}

// TestWildRelay has our client use a server that is a relay, too, on port 3544.
func TestWildRelay(t *testing.T) {
	for _, kernel := range []string{"off", "auto"} {
		t.Run("kernel path "+kernel, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.record()
			relayed := w.serveWildly(true)
			if r := w.probe(lab.ServerAddr); !r.Servers[0].Works || !r.Servers[0].Works2 {
				t.Errorf("server %+v", r.Servers[0])
			}
			_, addr := w.startClient("client1", ours, "--kernel-path", kernel)
			host := netip.MustParseAddr(lab.NativeAddr)
			for range 2 {
				w.ping("client1", host)
			}
			w.wantPath("client1", host, "relay", lab.ServerAddr)
			// A burst goes both ways, also when the kernel carries it.
			const burst = "400"
			if out, err := w.Host("client1").Run(startTimeout, "ping", "-6", "-n", "-q", "-c", burst, "-i", "0.005", host.String()); err != nil {
				t.Errorf("%v: %s", err, out)
			}

			// A native host that begins is tested.
			beginner := netip.MustParseAddr("2001:db8:6::2")
			if err := lab.Until(startTimeout, "the path of a host that begins", func() error {
				relayed(teredo.AppendEchoRequest(nil, beginner, addr, 1, 1, []byte("a native host")))
				time.Sleep(100 * time.Millisecond)
				return w.hasPath("client1", beginner, "relay", lab.ServerAddr)
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
