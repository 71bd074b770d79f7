package server

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

func TestForwardToClient(t *testing.T) {
	trailers := teredo.AppendNonceTrailer(nil, [4]byte{0xde, 0xad, 0xbe, 0xef})
	unknown := append([]byte{0x41, 2, 0, 0}, make([]byte, teredo.MaxTrailers-4)...)
	fromMiredo := with(bubble(relayLL, clientB), hopLimitAt, 0)
	congested := setECN(ping(nativeHost, clientB), 3)
	tests := []struct {
		name string
		from netip.AddrPort
		in   []byte
		kind Kind
		want []byte
	}{
		{"S-FWD-06 bubble between clients", mappedA, bubble(clientA, clientB), Bubble, join(origin(mappedA), bubble(clientA, clientB))},
		{"S-FWD-06 echo between clients", mappedA, ping(clientA, clientB), Echo, join(origin(mappedA), ping(clientA, clientB))},
		{"S-FWD-06 reply between clients", mappedA, pong(clientA, clientB), Echo, join(origin(mappedA), pong(clientA, clientB))},
		{"S-FWD-06 client of another server, no origin", mappedA, bubble(clientA, foreignB), Bubble, bubble(clientA, foreignB)},
		{"S-RX-06 bubble from a relay", relay, bubble(nativeHost, clientB), Bubble, join(origin(relay), bubble(nativeHost, clientB))},
		{"S-RX-06 ping from a relay", relay, ping(nativeHost, clientB), Echo, join(origin(relay), ping(nativeHost, clientB))},
		{"S-RX-06 A-37 link-local source and hop limit 0", relay, fromMiredo, Bubble, join(origin(relay), fromMiredo)},
		{"S-FWD-07 trailers stay", mappedA, join(bubble(clientA, clientB), trailers), Bubble,
			join(origin(mappedA), bubble(clientA, clientB), trailers)},
		{"S-FWD-07 W-ENC-04 as many bytes as trailers need, also unknown ones", mappedA, join(bubble(clientA, clientB), unknown), Bubble,
			join(origin(mappedA), bubble(clientA, clientB), unknown)},
		{"S-FWD-07 authentication and origin of the sender go", mappedA,
			join(nonceAuth(), origin(relay), bubble(clientA, clientB), trailers), Bubble,
			join(origin(mappedA), bubble(clientA, clientB), trailers)},
		{"ECN-02 inner ECN stays", relay, congested, Echo, join(origin(relay), congested)},
	}
	h := newHandler(t, labConfig())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, local := range []int{Primary, Secondary} {
				in := slices.Clone(tt.in)
				v := handle(h, input{local, tt.from, in})
				// S-FWD-05: from the primary address, to the endpoint in the destination.
				if v.Action != Send || v.Kind != tt.kind || v.Local != Primary || v.To != mappedB {
					t.Fatalf("arrived at %d: %+v", local, v)
				}
				if !bytes.Equal(v.Payload, tt.want) {
					t.Errorf("payload\n%x, want\n%x", v.Payload, tt.want)
				}
				if !bytes.Equal(in, tt.in) {
					t.Error("the input was changed")
				}
			}
		})
	}
}

func TestForwardNatively(t *testing.T) {
	trailers := teredo.AppendNonceTrailer(nil, [4]byte{0xde, 0xad, 0xbe, 0xef})
	ula := netip.MustParseAddr("fd00:1::1")
	sixToFour := netip.MustParseAddr("2002:808:808::1")
	ofForeign := clientOf(otherServer, mappedA)
	tests := []struct {
		name string
		in   []byte
		kind Kind
		dst  netip.Addr
		want []byte
	}{
		{"S-FWD-03 connectivity test", ping(clientA, nativeHost), Echo, nativeHost, ping(clientA, nativeHost)},
		{"S-FWD-03 echo reply", pong(clientA, nativeHost), Echo, nativeHost, pong(clientA, nativeHost)},
		{"S-FWD-03 bubble", bubble(clientA, nativeHost), Bubble, nativeHost, bubble(clientA, nativeHost)},
		{"S-FWD-03 client of another server", ping(ofForeign, nativeHost), Echo, nativeHost, ping(ofForeign, nativeHost)},
		{"S-FWD-03 permitted unique local address", ping(clientA, ula), Echo, ula, ping(clientA, ula)},
		{"S-FWD-03 permitted 6to4", ping(clientA, sixToFour), Echo, sixToFour, ping(clientA, sixToFour)},
		{"S-FWD-07 trailers and prefixes are Teredo's", join(nonceAuth(), origin(relay), ping(clientA, nativeHost), trailers),
			Echo, nativeHost, ping(clientA, nativeHost)},
		{"ECN-02 inner ECN stays", setECN(ping(clientA, nativeHost), 1), Echo, nativeHost, setECN(ping(clientA, nativeHost), 1)},
	}
	cfg := labConfig()
	cfg.Filter.Permit = append(cfg.Filter.Permit, netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("2002::/16"))
	h := newHandler(t, cfg)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := slices.Clone(tt.in)
			v := handle(h, input{from: mappedA, payload: in})
			if v.Action != Native || v.Kind != tt.kind || v.To != netip.AddrPortFrom(tt.dst, 0) {
				t.Fatalf("got %+v", v)
			}
			want := with(tt.want, hopLimitAt, tt.want[hopLimitAt]-1) // a router's hop
			if !bytes.Equal(v.Payload, want) {
				t.Errorf("packet\n%x, want\n%x", v.Payload, want)
			}
			if !bytes.Equal(in, tt.in) {
				t.Error("the input was changed")
			}
		})
	}
}

// With a native prefix a client's test leaves with its native address, and a right checksum: so the answer comes to a relay that
// translates. Clients of other servers have none here.
func TestForwardTranslated(t *testing.T) {
	cfg := labConfig()
	cfg.Native = netip.MustParsePrefix("2001:db8:c::/64")
	h := newHandler(t, cfg)
	natives, err := cfg.natives()
	if err != nil {
		t.Fatal(err)
	}
	native, ok := natives.Native(clientA)
	if !ok {
		t.Fatalf("%v has no native address", clientA)
	}
	other, _ := natives.Native(clientB)
	ofForeign := clientOf(otherServer, mappedA)
	for _, tt := range []struct{ src, dst, want netip.Addr }{
		{clientA, nativeHost, native},
		{clientA, other, native}, // another client, at its native address
		{ofForeign, nativeHost, ofForeign},
	} {
		v := handle(h, input{from: mappedA, payload: ping(tt.src, tt.dst)})
		if v.Action != Native || v.To.Addr() != tt.dst || teredo.Source(v.Payload) != tt.want || teredo.Destination(v.Payload) != tt.dst {
			t.Errorf("from %v to %v: %+v, want a packet from %v", tt.src, tt.dst, v, tt.want)
			continue
		}
		if _, err := teredo.ParseEcho(v.Payload); err != nil {
			t.Errorf("from %v to %v: %v", tt.src, tt.dst, err)
		}
	}
}
