package natsim_test

import (
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/udp"
)

// flow sends n datagrams at once over a link, and returns what arrived at the other side.
func flow(t *testing.T, in *natsim.Internet, l natsim.Link, n, size int) (arrived []natsim.Record) {
	t.Helper()
	a, b := listen(in, in.Host(), 5000), newOutside(in).a1
	a.host.SetLink(l)
	to := b.addr()
	for i := range n {
		payload := make([]byte, size)
		payload[0] = byte(i)
		if _, err := a.conn.WriteBatch([]udp.Message{{Buf: payload, N: size, Remote: to}}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	for _, r := range in.Trace() {
		if r.Event == natsim.Received {
			arrived = append(arrived, r)
		}
	}
	return arrived
}

func TestDelay(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		for i, r := range flow(t, in, natsim.Link{Delay: 30 * time.Millisecond}, 100, 10) {
			if r.At != 40*time.Millisecond || r.Packet.Payload[0] != byte(i) {
				t.Errorf("packet %d arrives at %v in place %d", r.Packet.Payload[0], r.At, i)
			}
		}
	})
}

func TestJitterReorders(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		arrived := flow(t, in, natsim.Link{Delay: 30 * time.Millisecond, Jitter: 20 * time.Millisecond}, 100, 10)
		early := 0
		for i, r := range arrived {
			if r.At < 40*time.Millisecond || r.At >= 60*time.Millisecond {
				t.Errorf("arrival at %v", r.At)
			}
			if i > 0 && r.Packet.ID < arrived[i-1].Packet.ID {
				early++
			}
		}
		if len(arrived) != 100 || early < 20 {
			t.Errorf("%d arrived, %d of them overtook the one before", len(arrived), early)
		}
	})
}

func TestLossAndDuplication(t *testing.T) {
	for _, test := range []struct {
		name     string
		link     natsim.Link
		size     int
		min, max int // of 200
	}{
		{"none", natsim.Link{}, 10, 200, 200},
		{"loss", natsim.Link{Loss: 0.25}, 10, 130, 170},
		{"down", natsim.Link{Down: true}, 10, 0, 0},
		{"duplication", natsim.Link{Duplicate: 0.25}, 10, 230, 270},
		{"always duplicated", natsim.Link{Duplicate: 1}, 10, 400, 400},
		{"at the MTU", natsim.Link{MTU: 1000, NoFragments: true}, 972, 200, 200},
		{"fragments", natsim.Link{MTU: 1000}, 973, 200, 200},
		{"one of five fragments lost", natsim.Link{MTU: 276, Loss: 0.2}, 1200, 45, 85},
		{"no fragments", natsim.Link{MTU: 1000, NoFragments: true}, 973, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
				if n := len(flow(t, in, test.link, 200, test.size)); n < test.min || n > test.max {
					t.Errorf("%d packets of 200 arrive, want %d to %d", n, test.min, test.max)
				}
			})
		})
	}
}

func TestDropOne(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		out := newOutside(in)
		to := out.a1.addr()
		rule := in.Drop(2, func(p natsim.Packet) bool { return p.Dst == to })
		inside := listen(in, in.NAT(natsim.Cone()).Host(), 5000)
		inside.reach(t, out.b1.addr())
		inside.reach(t, out.a1.addr())
		if rule.Dropped() {
			t.Error("dropped too early")
		}
		inside.fail(t, out.a1.addr(), "by rule")
		inside.reach(t, out.a1.addr())
		if !rule.Dropped() {
			t.Error("the rule does not know what it did")
		}
	})
}

// Lose drops a packet behind the NAT, which has made its mapping.
func TestLose(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		nat, out := in.NAT(natsim.PortRestricted()), newOutside(in)
		inside := listen(in, nat.Host(), 5000)
		rule := in.Network.Lose(2, natsim.Any)
		mapped := inside.reach(t, out.a1.addr())
		inside.fail(t, out.b1.addr(), "by rule")
		if !rule.Dropped() {
			t.Error("the rule has not noticed")
		}
		out.b1.reach(t, mapped)
	})
}
