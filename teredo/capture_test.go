package teredo_test

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/teredo-suite/teredo/teredo"
)

// What the captures of testdata/captures hold, counted with another tool.
type captureCount struct {
	datagrams, auth, origin, solicitations, advertisements, bubbles, requests, replies int
}

var captureCounts = map[string]captureCount{
	"miredo-at-server":  {datagrams: 18, auth: 8, origin: 8, solicitations: 4, advertisements: 4, bubbles: 8, requests: 2},
	"miredo-at-relay":   {datagrams: 18, bubbles: 4, requests: 6, replies: 8},
	"miredo-at-client1": {datagrams: 30, auth: 4, origin: 3, solicitations: 2, advertisements: 2, bubbles: 8, requests: 9, replies: 9},
	"miredo-at-client2": {datagrams: 28, auth: 4, origin: 5, solicitations: 2, advertisements: 2, bubbles: 6, requests: 9, replies: 9},
}

// Everything Miredo sends is understood, and what we would send in its place has the same bytes.
func TestCaptures(t *testing.T) {
	for name, want := range captureCounts {
		t.Run(name, func(t *testing.T) {
			var got captureCount
			requests := map[[2]uint16][]byte{} // by identifier and sequence number
			for _, payload := range readCapture(t, name) {
				var p teredo.Packet
				if err := p.Parse(payload); err != nil {
					t.Fatalf("%v: %x", err, payload)
				}
				got.datagrams++
				got.auth += count(p.HasAuth)
				got.origin += count(p.Origin.IsValid())
				wantBytes(t, "payload put together again", appendPacket(nil, &p), payload)
				if len(p.Trailers) != 0 {
					t.Errorf("Miredo sent trailers: %x", p.Trailers)
				}
				switch {
				case teredo.IsBubble(p.IPv6):
					got.bubbles++
					wantBytes(t, "bubble", teredo.AppendBubble(nil, teredo.Source(p.IPv6), teredo.Destination(p.IPv6), 0), p.IPv6)
				case teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6RouterSolicitation):
					got.solicitations++
					checkCapturedSolicitation(t, p.IPv6)
				case teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6RouterAdvertisement):
					got.advertisements++
					checkCapturedAdvertisement(t, p.IPv6)
				case teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6EchoRequest):
					got.requests++
					checkCapturedRequest(t, p.IPv6, requests)
				case teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6EchoReply):
					got.replies++
					checkCapturedReply(t, p.IPv6, requests)
				default:
					t.Errorf("not a Teredo message: %x", p.IPv6)
				}
			}
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func checkCapturedSolicitation(t *testing.T, ipv6 []byte) {
	t.Helper()
	src, err := teredo.ParseRouterSolicitation(ipv6)
	if err != nil || src != teredo.ClientLinkLocal(false, netip.AddrPort{}) || teredo.ConeBit(src) {
		t.Errorf("solicitation from %s: %v", src, err)
	}
	wantBytes(t, "solicitation", teredo.AppendRouterSolicitation(nil, src), ipv6)
}

func checkCapturedAdvertisement(t *testing.T, ipv6 []byte) {
	t.Helper()
	ra, err := teredo.ParseRouterAdvertisement(ipv6)
	if err != nil {
		t.Errorf("%v: %x", err, ipv6)
		return
	}
	server := netip.MustParseAddr("192.0.2.1")
	want := teredo.RouterAdvertisement{
		Source:      teredo.ServerLinkLocal(server),
		Destination: clientLL,
		Prefix:      netip.MustParsePrefix("2001:0:c000:201::/64"),
		MTU:         1280,
	}
	if ra != want {
		t.Errorf("got %+v, want %+v", ra, want)
	}
	// Miredo fills in a retransmission timer of two seconds, which we leave unspecified.
	ours := teredo.AppendRouterAdvertisement(nil, server, clientLL)
	same := icmpPacket(want.Source, want.Destination, 255, rewrite(ours, 52, 0, 0, 0x07, 0xd0)[40:])
	wantBytes(t, "advertisement", same, ipv6)
}

// The hop limit and the flow label are the sender's choice, and Miredo's pings come from different stacks.
func checkCapturedRequest(t *testing.T, ipv6 []byte, requests map[[2]uint16][]byte) {
	t.Helper()
	e, err := teredo.ParseEcho(ipv6)
	if err != nil || e.Type != teredo.ICMPv6EchoRequest {
		t.Errorf("type %d, %v: %x", e.Type, err, ipv6)
	}
	ours := teredo.AppendEchoRequest(nil, teredo.Source(ipv6), teredo.Destination(ipv6), e.ID, e.Seq, e.Data)
	wantBytes(t, "request", rewrite(rewrite(ours, 0, ipv6[:4]...), 7, ipv6[7]), ipv6)
	requests[[2]uint16{e.ID, e.Seq}] = ipv6
}

func checkCapturedReply(t *testing.T, ipv6 []byte, requests map[[2]uint16][]byte) {
	t.Helper()
	e, err := teredo.ParseEcho(ipv6)
	if err != nil || e.Type != teredo.ICMPv6EchoReply {
		t.Errorf("type %d, %v: %x", e.Type, err, ipv6)
	}
	request, ok := requests[[2]uint16{e.ID, e.Seq}]
	if !ok {
		return // the request took another way, through the server
	}
	ours := teredo.AppendEchoReply(nil, teredo.Source(ipv6), request)
	wantBytes(t, "reply", rewrite(rewrite(ours, 0, ipv6[:4]...), 7, ipv6[7]), ipv6)
}

// readCapture returns the UDP payloads on the ports of the server, the relay and the clients.
func readCapture(t testing.TB, name string) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "testdata", "captures", name+".pcap"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var payloads [][]byte
	for {
		frame, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return payloads
		}
		if err != nil {
			t.Fatal(err)
		}
		packet := gopacket.NewPacket(frame, r.LinkType(), gopacket.Default)
		if udp, ok := packet.Layer(layers.LayerTypeUDP).(*layers.UDP); ok && (teredoPort(udp.SrcPort) || teredoPort(udp.DstPort)) {
			payloads = append(payloads, udp.Payload)
		}
	}
}

func teredoPort(p layers.UDPPort) bool {
	return p == teredo.Port || p == 3545 || p == 55212 || p == 53095
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
