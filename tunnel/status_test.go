package tunnel_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

const udpHeaderLen = 8

// natWords is what the status says about the NAT.
type natWords struct {
	kind, mapping, filtering string
	preserving               bool
	sequential, hairpinning  string
}

func natOf(s tunnel.ClientStatus) natWords {
	return natWords{s.NAT, s.Mapping, s.Filtering, s.PortPreserving, s.Sequential, s.Hairpinning}
}

// tested is when the tests with the secondary address and for hairpinning are over, counted from when the address is there.
const tested = 2*hop + 3*timeout

// The status tells of the NAT what the client has seen, and no more (C-QUAL-07, X-SNS-01, X-PP-02).
func TestNATInStatus(t *testing.T) {
	preserving, hairpin, symmetricHairpin := natsim.PortRestricted(), natsim.PortRestricted(), natsim.Symmetric()
	preserving.Ports = natsim.PreservePorts
	hairpin.Hairpin, symmetricHairpin.Hairpin = true, true
	nothing := natWords{"unknown", "unknown", "unknown", false, "unknown", "unknown"}
	for name, test := range map[string]struct {
		nat  natsim.NATConfig
		cone bool
		natWords
	}{
		"restricted":             {natsim.PortRestricted(), false, natWords{"restricted", "endpoint-independent", "unknown", false, "unknown", "no"}},
		"preserving":             {preserving, false, natWords{"restricted", "endpoint-independent", "unknown", true, "unknown", "no"}},
		"hairpinning":            {hairpin, false, natWords{"restricted", "endpoint-independent", "unknown", false, "unknown", "yes"}},
		"cone, not asked":        {natsim.Cone(), false, natWords{"restricted", "endpoint-independent", "unknown", false, "unknown", "no"}},
		"cone":                   {natsim.Cone(), true, natWords{"cone", "endpoint-independent", "endpoint-independent", false, "unknown", "no"}},
		"symmetric":              {natsim.Symmetric(), false, natWords{"symmetric", "symmetric", "unknown", false, "no", "unknown"}},
		"sequential":             {natsim.Sequential(), false, natWords{"symmetric", "symmetric", "unknown", false, "yes", "unknown"}},
		"preserving, symmetric":  {natsim.PortPreserving(), false, natWords{"symmetric", "symmetric", "unknown", true, "unknown", "unknown"}},
		"hairpinning, symmetric": {symmetricHairpin, false, natWords{"symmetric", "symmetric", "unknown", false, "no", "unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
				c := in.NAT(test.nat).Client(in.Server(), func(cfg *tunnel.ClientConfig) {
					cfg.ConePhase, cfg.Extensions = test.cone, peer.Extensions{SymmetricNAT: true, Hairpinning: true}
				})
				if got := natOf(c.Status()); got != nothing {
					t.Errorf("before an answer: %+v", got)
				}
				c.AwaitAddr(time.Minute)
				time.Sleep(tested)
				s := c.Status()
				if got := natOf(s); got != test.natWords {
					t.Errorf("%+v, want %+v", got, test.natWords)
				}
				if len(s.Drops) != 0 || s.Peers != 0 {
					t.Errorf("dropped %v, %d peers", s.Drops, s.Peers)
				}
			})
		})
	}
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		c := in.Client(in.Server(), withHairpinning)
		c.AwaitAddr(time.Minute)
		time.Sleep(tested)
		if got, want := natOf(c.Status()), (natWords{"none", "none", "unknown", true, "unknown", "unknown"}); got != want {
			t.Errorf("without a NAT: %+v", got)
		}
	})
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		c := in.NAT(preserving).Client(in.Server(natsim.OneAddress), withHairpinning)
		c.AwaitAddr(time.Minute)
		time.Sleep(tested)
		if got, want := natOf(c.Status()), (natWords{"unknown", "unknown", "unknown", true, "unknown", "unknown"}); got != want {
			t.Errorf("with one address: %+v", got)
		}
	})
}

func withHairpinning(cfg *tunnel.ClientConfig) { cfg.Extensions.Hairpinning = true }

// The test for hairpinning is three bubbles to the own mapping right after qualification, or one when that comes back. There
// is one for each address, also when an outage withdraws it for a while, and none without the extension.
func TestHairpinningInStatus(t *testing.T) {
	for name, test := range map[string]struct {
		hairpins, extension bool
		bubbles             int
		word                string
	}{
		"a NAT that hairpins":   {true, true, 1, "yes"},
		"one that does not":     {false, true, 3, "no"},
		"without the extension": {true, false, 0, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *testing.T, w *world) {
				cfg := natsim.PortRestricted()
				cfg.Hairpin = test.hairpins
				c := w.NAT(cfg).Client(w.server, func(cfg *tunnel.ClientConfig) {
					cfg.Extensions.Hairpinning, cfg.Discovery = test.extension, nil
				})
				check := func(addr netip.Addr, word string) {
					t.Helper()
					sent := w.Sent(natsim.Kind("bubble"))
					for i, r := range sent {
						if at := qualification + time.Duration(i)*timeout; r.At != at || r.Packet.Dst != teredo.Mapped(addr) {
							t.Errorf("bubble %d at %v, want %v: %v", i, r.At, at, r)
						}
					}
					if s := c.Status(); len(sent) != test.bubbles || s.Hairpinning != word {
						t.Errorf("while %s: %d bubbles, hairpinning %q; want %d, %q", s.State, len(sent), s.Hairpinning, test.bubbles, word)
					}
				}
				addr := c.AwaitAddr(time.Minute)
				time.Sleep(tested)
				check(addr, test.word)
				w.server.Stop()
				c.AwaitNoAddr(refreshInterval + noAnswer)
				check(addr, "unknown")
				w.server.Start()
				if again := c.AwaitAddr(5 * time.Minute); again != addr {
					t.Errorf("address %v, and %v before", again, addr)
				}
				time.Sleep(tested)
				check(addr, test.word)
			})
		})
	}
}

// The bytes in the status are those of the datagrams that the client has sent, without headers, and of the packets that its host
// got, whoever decided about them: a worker or the rules.
func TestBytesInStatus(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		for range 3 {
			o.send()
		}
		for range 5 {
			o.host.Send(o.client.Addr(), "answer")
			o.expect(o.client.Stack, "answer", o.Now()+viaRelay)
		}
		var sent, packets uint64
		for _, r := range o.Sent(natsim.Any) {
			if r.Hop == o.client.Host.Name() {
				packets++
				sent += uint64(len(r.Packet.Payload))
			}
		}
		s := o.client.Status()
		if s.SentPackets != packets || s.SentBytes != sent {
			t.Errorf("%d packets of %d bytes sent, want %d of %d", s.SentPackets, s.SentBytes, packets, sent)
		}
		infos, err := o.client.Tunnel.Peers(context.Background())
		if err != nil || len(infos) != 1 {
			t.Fatalf("%v, %v", infos, err)
		}
		answers := uint64(5 * (teredo.HeaderLen + udpHeaderLen + len("answer")))
		data := uint64(teredo.HeaderLen+udpHeaderLen)*4 + uint64(len("hello")+3*len("more"))
		if i := infos[0]; s.ReceivedBytes != answers || i.ReceivedBytes != answers || i.SentBytes != data {
			t.Errorf("peer %+v, status: %d bytes received; want %d, and %d sent", i, s.ReceivedBytes, answers, data)
		}
	})
}
