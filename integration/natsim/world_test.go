package natsim_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/udp"
)

// endpoint is a socket and the address that others reach it at when there is no NAT.
type endpoint struct {
	in   *natsim.Internet
	host *natsim.Host
	conn *natsim.Conn
}

func listen(in *natsim.Internet, h *natsim.Host, port uint16) endpoint {
	return endpoint{in, h, h.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), port))}
}

func (e endpoint) addr() netip.AddrPort {
	return netip.AddrPortFrom(e.host.Addr(), e.conn.LocalAddr().Port())
}

// send sends a datagram, waits a second, and returns what happened to it last.
func (e endpoint) send(t *testing.T, to netip.AddrPort) natsim.Record {
	t.Helper()
	records := e.sendOf(t, to, []byte("hello"))
	return records[len(records)-1]
}

// sendOf sends a datagram, waits a second, and returns all that happened to it.
func (e endpoint) sendOf(t *testing.T, to netip.AddrPort, payload []byte) (records []natsim.Record) {
	t.Helper()
	before := len(e.in.Trace())
	if _, err := e.conn.WriteBatch([]udp.Message{{Buf: payload, N: len(payload), Remote: to}}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	records = e.in.Trace()[before:]
	for _, r := range records[1:] {
		if r.Packet.ID != records[0].Packet.ID {
			t.Fatalf("another packet was on its way: %v", r)
		}
	}
	return records
}

// reach sends a datagram that must arrive, and returns the source that the receiver sees.
func (e endpoint) reach(t *testing.T, to netip.AddrPort) netip.AddrPort {
	t.Helper()
	r := e.send(t, to)
	if r.Event != natsim.Received {
		t.Fatalf("not received: %v", r)
	}
	return r.Packet.Src
}

// fail sends a datagram that must be dropped, for the reason given.
func (e endpoint) fail(t *testing.T, to netip.AddrPort, why string) {
	t.Helper()
	if r := e.send(t, to); r.Event != natsim.Dropped || r.Why != why {
		t.Fatalf("got %v, want it dropped: %s", r, why)
	}
}

// outside is two public hosts with two sockets each.
type outside struct{ a1, a2, b1, b2 endpoint }

func newOutside(in *natsim.Internet) outside {
	a, b := in.Host(), in.Host()
	return outside{listen(in, a, 1001), listen(in, a, 1002), listen(in, b, 1001), listen(in, b, 1002)}
}

func behaviors() []natsim.Behavior {
	return []natsim.Behavior{natsim.EndpointIndependent, natsim.AddressDependent, natsim.AddressAndPortDependent}
}
