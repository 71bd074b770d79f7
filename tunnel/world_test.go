package tunnel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
)

// hop is the way between any two hosts of the public internet, or of the native one. NATs and LANs take no time.
const hop = 20 * time.Millisecond

// What the exchanges of RFC 4380 take, from the first packet to the last.
const (
	qualification = 4 * hop // solicitation and advertisement, with either address of the server
	// The client's echo request goes to its server and on to the host (2). The reply goes to the relay (3), which makes
	// itself known by a bubble through the server (5), which the client answers directly (6). Now the reply reaches the
	// client (7), and the packet that waited for it the relay (8) and the host (9). (§5.2.9, §5.4.1)
	clientToNative = 9 * hop
	// The packet goes to the relay (1), whose bubble goes to the client through the server (3) and is answered directly (4),
	// so that the packet goes to the client (5). The client believes it after a test of its own (C-RX-15): the echo request
	// goes to its server and the host (7), the reply through the relay to the client (9). (§5.4.1, §5.2.3)
	nativeToClient = 9 * hop
	// The bubble goes through the other client's server (2), is answered directly (3), and the packet follows (4). (§5.2.4)
	clientToClient = 4 * hop

	viaRelay = 2 * hop // a packet between a client and a native host when the path is known
	direct   = hop     // and between clients
)

// timeout is how long a bubble or a test waits for its answer, and tries how often it is sent (K-10, K-11).
const (
	timeout = 2 * time.Second
	tries   = 4
)

// world is an internet with what every client needs.
type world struct {
	*natsim.Internet
	t      *testing.T
	server *natsim.Server
	relay  *natsim.Relay
}

func newWorld(t *testing.T, in *natsim.Internet) *world {
	return &world{Internet: in, t: t, server: in.Server(), relay: in.Relay()}
}

// qualified returns a client on the network that has its address.
func (w *world) qualified(n *natsim.Network) *natsim.Client {
	w.t.Helper()
	c := n.Client(w.server)
	c.AwaitAddr(time.Minute)
	return c
}

// expect takes the next packet that a stack receives, which must be the data and arrive at the time given.
func (w *world) expect(s *natsim.Stack, data string, at time.Duration) {
	w.t.Helper()
	got := s.Next(at - w.Now() + 10*time.Second)
	if got.Data() != data || got.At != at {
		w.t.Errorf("received %s %q at %v, want %q at %v", got.Kind(), got.Data(), got.At, data, at)
	}
}

// place is a kind of attachment to the internet that RFC 4380 supports.
type place struct {
	name string
	make func(in *natsim.Internet) *natsim.Network
}

// places are a public address, the NATs of RFC 4380 §2, and a NAT behind a carrier's NAT.
func places() []place {
	behind := func(cfg natsim.NATConfig) func(in *natsim.Internet) *natsim.Network {
		return func(in *natsim.Internet) *natsim.Network { return in.NAT(cfg).Network }
	}
	return []place{
		{"public", func(in *natsim.Internet) *natsim.Network { return in.Network }},
		{"cone", behind(natsim.Cone())},
		{"restricted", behind(natsim.Restricted())},
		{"port-restricted", behind(natsim.PortRestricted())},
		{"two NATs", func(in *natsim.Internet) *natsim.Network {
			return in.NAT(natsim.Cone()).NAT(natsim.PortRestricted()).Network
		}},
	}
}

// eachPlace runs a scenario at each place.
func eachPlace(t *testing.T, scenario func(t *testing.T, w *world, at *natsim.Network)) {
	for _, p := range places() {
		t.Run(p.name, func(t *testing.T) {
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) { scenario(t, newWorld(t, in), p.make(in)) })
		})
	}
}

// eachPair runs a scenario for each pair of places, in both orders.
func eachPair(t *testing.T, scenario func(t *testing.T, w *world, a, b *natsim.Network)) {
	for _, p := range places() {
		for _, q := range places() {
			t.Run(fmt.Sprintf("%s to %s", p.name, q.name), func(t *testing.T) {
				natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) { scenario(t, newWorld(t, in), p.make(in), q.make(in)) })
			})
		}
	}
}

// scenario runs one in a world of its own.
func scenario(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) { f(t, newWorld(t, in)) })
}
