package neighbor_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/leak"
	"github.com/teredo-suite/teredo/internal/neighbor"
)

func TestMain(m *testing.M) { leak.VerifyTestMain(m) }

var (
	gateway    = netip.MustParseAddr("fe80::1")
	gatewayMAC = [6]byte{2, 0, 0, 0, 0, 1}
	relay      = netip.MustParseAddr("fe80::2")
	relayMAC   = [6]byte{2, 0, 0, 0, 0, 2}
	client     = netip.MustParseAddr("2001:db8:c:0:1234:63bf:3fff:fdd2")
	host       = netip.MustParseAddr("2001:db8:c:0:1234:63bf:3fff:fdd3") // the relay's own, in the form of a client's address
	start      = time.Unix(1e9, 0)
)

// clients are those of a relay that finds whom a test puts into live. An address without a mapping to a client ends in zero.
type clients struct {
	live   map[netip.Addr]bool
	sought []netip.Addr
	budget int
}

func (c *clients) Possible(a netip.Addr) bool { return a.As16()[15] != 0 }
func (c *clients) Live(a netip.Addr) bool     { return c.live[a] }
func (c *clients) Seek(a, asker netip.Addr) bool {
	if c.budget == 0 {
		return false
	}
	c.budget--
	c.sought = append(c.sought, a)
	return true
}

// solicitation is the frame that asks for the target. The IPv6 packet is made by ndp.
func solicitation(t testing.TB, src, target netip.Addr) []byte {
	t.Helper()
	a := target.As16()
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
	m := &ndp.NeighborSolicitation{TargetAddress: target}
	if !src.IsUnspecified() {
		m.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: net.HardwareAddr(gatewayMAC[:])}}
	}
	message, err := ndp.MarshalMessageChecksum(m, src, group)
	if err != nil {
		t.Fatal(err)
	}
	g, s := group.As16(), src.As16()
	frame := append([]byte{0x33, 0x33, 0xff, a[13], a[14], a[15]}, gatewayMAC[:]...)
	frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(message)), 58, 255)
	return append(append(append(frame, s[:]...), g[:]...), message...)
}

func newProxy() (*neighbor.Proxy, *clients, *drop.Counters) {
	c, drops := &clients{live: make(map[netip.Addr]bool), budget: 1 << 20}, new(drop.Counters)
	link := neighbor.Link{MAC: relayMAC, Local: relay, Taken: map[netip.Addr]bool{host: true}}
	return neighbor.New(link, c, drops), c, drops
}

// wantAnswer checks that the frame tells the gateway, by a solicited advertisement without Override, that packets to the
// client go to the relay.
func wantAnswer(t *testing.T, frame []byte) {
	t.Helper()
	want := "020000000001" + "020000000002" + "86dd" + "6000000000203aff" +
		"fe800000000000000000000000000002" + "fe800000000000000000000000000001" +
		"8800" + fmt.Sprintf("%x", frame[56:58]) + "40000000" + "20010db8000c0000123463bf3ffffdd2" + "0201020000000002"
	if got := fmt.Sprintf("%x", frame); got != want {
		t.Fatalf("answer\n%s, want\n%s", got, want)
	}
	var sum uint32 // over the pseudo-header and the message (RFC 8200 §8.1)
	covered := append(append([]byte(nil), frame[22:]...), 0, 32, 0, 58)
	for ; len(covered) > 0; covered = covered[2:] {
		sum += uint32(binary.BigEndian.Uint16(covered))
	}
	if sum = sum>>16 + sum&0xffff; sum>>16+sum&0xffff != 0xffff {
		t.Fatal("the checksum of the answer is wrong")
	}
}

func wantDrops(t *testing.T, drops *drop.Counters, want map[string]uint64) {
	t.Helper()
	if got := drops.Snapshot(); !maps.Equal(got, want) {
		t.Errorf("drops %v, want %v", got, want)
	}
}

// A live client is answered for at once, and nobody is looked for. Padding behind the packet does not matter.
func TestLiveClient(t *testing.T) {
	p, c, drops := newProxy()
	c.live[client] = true
	wantAnswer(t, p.Solicit(append(solicitation(t, gateway, client), 0, 0), start))
	if len(c.sought) > 0 {
		t.Errorf("looked for %v", c.sought)
	}
	wantDrops(t, drops, map[string]uint64{})
}

// Another client is looked for, each time that the router asks, and answered for when it is found.
func TestFoundClient(t *testing.T) {
	p, c, drops := newProxy()
	for _, after := range []time.Duration{0, time.Second} {
		if answer := p.Solicit(solicitation(t, gateway, client), start.Add(after)); answer != nil {
			t.Fatalf("answered for a client that is not found: %x", answer)
		}
	}
	if len(c.sought) != 2 || c.sought[0] != client {
		t.Fatalf("looked for %v", c.sought)
	}
	var sent [][]byte
	send := func(frame []byte) { sent = append(sent, bytes.Clone(frame)) }
	if p.Tick(start.Add(2*time.Second), send); len(sent) > 0 || p.Waiting() != 1 {
		t.Fatalf("%d answers, %d wait", len(sent), p.Waiting())
	}
	c.live[client] = true
	if p.Tick(start.Add(3*time.Second), send); len(sent) != 1 || p.Waiting() != 0 {
		t.Fatalf("%d answers, %d wait", len(sent), p.Waiting())
	}
	wantAnswer(t, sent[0])
	wantDrops(t, drops, map[string]uint64{})
}

// One that is not found within the time that a host asks for is never answered for: the host finds the address unreachable.
func TestSilentClient(t *testing.T) {
	p, _, drops := newProxy()
	p.Solicit(solicitation(t, gateway, client), start)
	send := func([]byte) { t.Error("answered for a client that was not found") }
	p.Tick(start.Add(3*time.Second), send)
	if p.Waiting() != 1 {
		t.Error("given up too early")
	}
	p.Tick(start.Add(3*time.Second+1), send)
	if p.Waiting() != 0 {
		t.Error("not given up")
	}
	wantDrops(t, drops, map[string]uint64{"no-path": 1})
}

// What no client can have, what the host or its gateway has, and what a host of the link is about to take is left alone, even while a
// client seems to have it.
func TestNotForClients(t *testing.T) {
	broken := solicitation(t, gateway, client)
	broken[56]++
	tested := netip.IPv6Unspecified()
	for name, test := range map[string]struct {
		frame []byte
		why   drop.Reason
	}{
		"an address of the host":   {solicitation(t, gateway, host), drop.None},
		"no client's address":      {solicitation(t, gateway, netip.MustParseAddr("2001:db8:c::100")), drop.Destination},
		"a test for duplicates":    {solicitation(t, tested, client), drop.Source},
		"a wrong checksum":         {broken, drop.Malformed},
		"shorter than its header":  {broken[:40], drop.Malformed},
		"shorter than it says":     {broken[:80], drop.Malformed},
		"something else than IPv6": {append(append([]byte(nil), broken[:12]...), make([]byte, 80)...), drop.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			p, c, drops := newProxy()
			c.live[client], c.live[host] = true, true
			if answer := p.Solicit(test.frame, start); answer != nil || len(c.sought) > 0 || p.Waiting() > 0 {
				t.Errorf("answer %x, looked for %v", answer, c.sought)
			}
			want := map[string]uint64{}
			if test.why != drop.None {
				want[test.why.String()] = 1
			}
			wantDrops(t, drops, want)
		})
	}
}

// A scan of the prefix starts no more searches than the relay allows, and what waits is bounded.
func TestScan(t *testing.T) {
	p, c, drops := newProxy()
	scan := func(n int) {
		for i := range n {
			a := client.As16()
			binary.BigEndian.PutUint32(a[8:], uint32(i))
			if answer := p.Solicit(solicitation(t, gateway, netip.AddrFrom16(a)), start); answer != nil {
				t.Fatalf("answered for nobody: %x", answer)
			}
		}
	}
	c.budget = 1000
	scan(5000)
	if len(c.sought) != 1000 || p.Waiting() != 1000 || drops.Get(drop.Budget) != 4000 {
		t.Errorf("looked for %d, %d wait, drops %v", len(c.sought), p.Waiting(), drops.Snapshot())
	}
	c.budget = 1 << 20
	scan(5000)
	if p.Waiting() != 2048 || drops.Get(drop.TableFull) != 5000-2048 {
		t.Errorf("%d wait, drops %v", p.Waiting(), drops.Snapshot())
	}
}

// Without a link-local address there is nothing to answer from.
func TestNoAddress(t *testing.T) {
	p, c, drops := newProxy()
	c.live[client] = true
	p.SetLink(neighbor.Link{MAC: relayMAC})
	if answer := p.Solicit(solicitation(t, gateway, client), start); answer != nil {
		t.Errorf("answer %x", answer)
	}
	wantDrops(t, drops, map[string]uint64{"no-route": 1})
}

func FuzzSolicit(f *testing.F) {
	f.Add(solicitation(f, gateway, client))
	f.Fuzz(func(t *testing.T, frame []byte) {
		p, c, _ := newProxy()
		c.live[client] = true
		if answer := p.Solicit(frame, start); answer != nil && (len(answer) != 86 || !bytes.Contains(frame, client.AsSlice())) {
			t.Errorf("answer %x", answer)
		}
	})
}
