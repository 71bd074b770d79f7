//go:build linux

package integration

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestMappingChange gives the NAT another public address. The client must notice at its next refresh, use a new
// Teredo address and no longer the old one (C-MNT-04).
func TestMappingChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	old := w.startOurs()

	const newMapped = "203.0.113.9"
	w.run("nat1", "ip", "address", "delete", lab.NAT1Addr+"/25", "dev", "uplink")
	w.run("nat1", "ip", "address", "add", newMapped+"/25", "dev", "uplink")
	w.run("nat1", "ip", "route", "add", "default", "via", "203.0.113.126")

	w.wantMoved(lossTimeout, old, client1Addr, newMapped)
}

// TestNetworkLoss takes the client's network away for longer than it stays qualified without, as a laptop's sleep does.
// It must recover by itself.
func TestNetworkLoss(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	w.startOurs()

	w.run("client1", "ip", "link", "set", "uplink", "down")
	w.untilStatus(lossTimeout, "client1", "no longer qualified, with a reason", func(s clientStatus) bool {
		return s.State != "qualified" && s.LastError != ""
	})
	w.run("client1", "ip", "link", "set", "uplink", "up")
	w.run("client1", "ip", "route", "add", "default", "via", "192.168.1.1")
	w.untilStatus(retryTimeout, "client1", "qualified again", func(s clientStatus) bool { return s.State == "qualified" })
	w.ping("client1", netip.MustParseAddr(lab.NativeAddr))
}

// TestOneWayFlow sends datagrams that nobody answers for longer than a peer entry is valid (K-07).
// Not one may be lost when the path is checked anew.
func TestOneWayFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	w.startServer(ours)
	w.startRelay(ours)
	_, addr1 := w.startClient("client1", ours)
	_, addr2 := w.startClient("client2", ours)
	native := netip.MustParseAddr(lab.NativeAddr)
	w.ping("native", addr1)
	w.ping("client1", addr2)
	w.ping("client2", native)

	var flows sync.WaitGroup
	for _, flow := range []struct {
		from, to string
		addr     netip.Addr
	}{
		{"native", "client1", addr1},
		{"client1", "client2", addr2},
		{"client2", "native", native},
	} {
		out := w.socket(flow.from, ":0")
		in := w.socket(flow.to, netip.AddrPortFrom(flow.addr, 0).String())
		flows.Go(func() {
			const datagrams = 400
			if lost := oneWay(out, in, datagrams, 2*silence/datagrams); lost != nil {
				t.Errorf("%s -> %s: lost of %d datagrams: %v", flow.from, flow.to, datagrams, lost)
			}
		})
	}
	flows.Wait()
}

// oneWay sends n numbered datagrams and returns the numbers that did not arrive.
func oneWay(out, in net.PacketConn, n int, pause time.Duration) (lost []string) {
	go func() {
		for i := range n {
			// A datagram that is not sent shows as a lost one.
			_, _ = out.WriteTo(fmt.Append(nil, i), in.LocalAddr())
			time.Sleep(pause)
		}
	}()
	arrived := make(map[string]bool)
	buf := make([]byte, 16)
	for len(arrived) < n {
		// An error to set the deadline shows as one to read.
		_ = in.SetReadDeadline(time.Now().Add(pingTimeout))
		size, _, err := in.ReadFrom(buf)
		if err != nil {
			break
		}
		arrived[string(buf[:size])] = true
	}
	for i := range n {
		if !arrived[fmt.Sprint(i)] {
			lost = append(lost, fmt.Sprint(i))
		}
	}
	return lost
}

// run runs a command on a host, which must succeed.
func (w *world) run(host string, argv ...string) {
	w.t.Helper()
	if _, err := w.Host(host).Run(startTimeout, argv...); err != nil {
		w.t.Fatal(err)
	}
}
