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
	"github.com/teredo-suite/teredo/teredo"
)

// TestPopulation has a native host reach 200 clients through a relay, at their addresses and ports, that are one process without state
// (integration/population). Every client answers an echo over UDP, and one a ping; what goes to the discard port is not answered.
func TestPopulation(t *testing.T) {
	t.Parallel()
	const clients, stride = 200, 50_003 // a prime: their addresses and ports are far apart
	w := newWorld(t, lab.PortRestricted)
	const permit = "--permit-ipv4=" + population.Range
	server := w.start("server", w.serverCommand(permit)...)
	w.until(server, startTimeout, "the server to listen", func() error { return w.listens("server", teredo.Port) })
	relay := w.startRelay(ours, permit)
	host, err := population.AddHost(w.Lab)
	if err != nil {
		t.Fatal(err)
	}
	p, err := population.Start(host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()

	client := func(n int) netip.Addr { return population.Client(netip.MustParseAddr(lab.ServerAddr), n*stride) }
	socket := w.socket("native", "["+lab.NativeAddr+"]:0").(*net.UDPConn)
	missing := make(map[netip.AddrPort]uint32)
	for n := range clients {
		missing[netip.AddrPortFrom(client(n), population.EchoPort)] = uint32(n)
	}
	w.until(relay, startTimeout, "every client to answer", func() error {
		for to, n := range missing {
			if _, err := socket.WriteToUDPAddrPort(binary.BigEndian.AppendUint32(nil, n), to); err != nil {
				return err
			}
		}
		var answer [8]byte
		for len(missing) > 0 {
			if err := socket.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				return err
			}
			size, from, err := socket.ReadFromUDPAddrPort(answer[:])
			if err != nil {
				return fmt.Errorf("%d clients have not answered: %w", len(missing), err)
			}
			if n, asked := missing[from]; asked && (size != 4 || binary.BigEndian.Uint32(answer[:]) != n) {
				return fmt.Errorf("%v answered %x", from, answer[:size])
			}
			delete(missing, from)
		}
		return nil
	})
	w.ping("native", client(0))
	if _, err := socket.WriteToUDPAddrPort([]byte{1}, netip.AddrPortFrom(client(1), population.DiscardPort)); err != nil {
		t.Fatal(err)
	}
	w.until(relay, startTimeout, "a packet to be discarded", func() error {
		if c := p.Counts(); c.Bubbles < clients || c.Echoes < clients+1 || c.Discarded != 1 || c.Others != 0 {
			return fmt.Errorf("the clients have received %+v", c)
		}
		return nil
	})
	var status struct{ Peers int }
	if err := json.Unmarshal([]byte(w.query("relay", "relay", "status")), &status); err != nil || status.Peers != clients {
		t.Errorf("the relay knows %d clients, error %v", status.Peers, err)
	}
}
