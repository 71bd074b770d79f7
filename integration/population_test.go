//go:build linux

package integration

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/integration/population"
)

// TestPopulation has a native host reach 200 clients through a relay, at their addresses and ports, that are one process without state
// (integration/population). Every client answers an echo over UDP, and one a ping; what goes to the discard port is not answered.
func TestPopulation(t *testing.T) {
	t.Parallel()
	const clients = 200
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours, "--permit-ipv4="+population.Range)
	relay := w.startRelay(ours, "--permit-ipv4="+population.Range)
	c := w.crowd()
	c.reach(clients)
	w.ping("native", c.client(0))
	if _, err := c.socket.WriteToUDPAddrPort([]byte{1}, netip.AddrPortFrom(c.client(1), population.DiscardPort)); err != nil {
		t.Fatal(err)
	}
	w.until(relay, startTimeout, "a packet to be discarded", func() error {
		if c := c.Counts(); c.Bubbles < clients || c.Echoes < clients+1 || c.Discarded != 1 || c.Others != 0 {
			return fmt.Errorf("the clients have received %+v", c)
		}
		return nil
	})
	var status struct{ Peers int }
	if err := json.Unmarshal([]byte(w.query("relay", "relay", "status")), &status); err != nil || status.Peers != clients {
		t.Errorf("the relay knows %d clients, error %v", status.Peers, err)
	}
}

// crowd is very many clients, and a native host's socket that reaches them.
type crowd struct {
	*population.Population
	w      *world
	socket *net.UDPConn
}

// crowd starts a crowd, for as long as the test lasts.
func (w *world) crowd() *crowd {
	w.t.Helper()
	host, err := population.AddHost(w.Lab)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := population.Start(host)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return &crowd{p, w, w.socket("native", "["+lab.NativeAddr+"]:0").(*net.UDPConn)}
}

// client is the address of the nth client. The addresses and ports of any two are far apart.
func (c *crowd) client(n int) netip.Addr {
	const stride = 50_003 // a prime
	return population.Client(netip.MustParseAddr(lab.ServerAddr), n*stride)
}

// reach has the native host exchange an echo with each of so many clients.
func (c *crowd) reach(clients int) {
	c.w.t.Helper()
	missing := make(map[netip.AddrPort]uint32)
	for n := range clients {
		missing[netip.AddrPortFrom(c.client(n), population.EchoPort)] = uint32(n)
	}
	if err := lab.Until(startTimeout, "every client to answer", func() error {
		for to, n := range missing {
			if _, err := c.socket.WriteToUDPAddrPort(binary.BigEndian.AppendUint32(nil, n), to); err != nil {
				return err
			}
		}
		var answer [8]byte
		for len(missing) > 0 {
			if err := c.socket.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				return err
			}
			size, from, err := c.socket.ReadFromUDPAddrPort(answer[:])
			if err != nil {
				return fmt.Errorf("%d clients have not answered: %w", len(missing), err)
			}
			if n, asked := missing[from]; asked && (size != 4 || binary.BigEndian.Uint32(answer[:]) != n) {
				return fmt.Errorf("%v answered %x", from, answer[:size])
			}
			delete(missing, from)
		}
		return nil
	}); err != nil {
		c.w.t.Fatal(err)
	}
}
