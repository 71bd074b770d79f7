package server

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/mdlayher/ndp"

	"github.com/teredo-suite/teredo/teredo"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The answer of server 203.0.113.120 to the client that it sees at 192.0.2.1:4096, byte by byte.
func TestAdvertisementBytes(t *testing.T) {
	server := netip.MustParseAddr("203.0.113.120")
	client := netip.MustParseAddrPort("192.0.2.1:4096")
	solicitation := unhex(t, "6000000000083afffe800000000000000000ffffffffffffff02000000000000000000000000000285007d3700000000")
	indication := unhex(t, "0000efff3ffffdfe")
	advertisement := unhex(t, "6000000000383afffe800000000000008000f22734ff8e87fe800000000000000000ffffffffffff"+
		"86009d1c000000000000000000000000"+
		"03044040ffffffffffffffff0000000020010000cb0071780000000000000000"+
		"0501000000000500")
	auth := unhex(t, "00010000"+"0102030405060708"+"00")

	h := newHandler(t, Config{Primary: server, Filter: labFilter()})
	tests := []struct {
		name          string
		payload, want []byte
	}{
		{"without authentication", solicitation, join(indication, advertisement)},
		{"S-RS-07 nonce", join(auth, solicitation), join(auth, indication, advertisement)},
		{"S-RS-07 client with a secret", join(unhex(t, "00010714"+"636c69656e7431"+
			"eab4568dc73d431fc6c28a033d6223a84a86245f"+"0102030405060708"+"00"), solicitation), join(auth, indication, advertisement)},
		{"S-RS-07 confirmation is ours to set", join(with(auth, 12, 0xff), solicitation), join(auth, indication, advertisement)},
		{"S-FWD-07 origin of the client's making", join(auth, unhex(t, "0000010203040506"), solicitation), join(auth, indication, advertisement)},
		{"W-ENC-04 trailers", join(solicitation, unhex(t, "0104deadbeef")), join(indication, advertisement)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := handle(h, input{from: client, payload: tt.payload})
			if v.Action != Send || v.Kind != Solicitation || v.Local != Primary || v.To != client { // S-RS-01
				t.Fatalf("got %+v", v)
			}
			if !bytes.Equal(v.Payload, tt.want) {
				t.Errorf("payload\n%x, want\n%x", v.Payload, tt.want)
			}
		})
	}
}

func TestAdvertisementLeavesFrom(t *testing.T) {
	tests := []struct {
		name  string
		src   netip.Addr
		local int
		from  int
	}{
		{"S-RS-03 restricted, to the primary", solicitor, Primary, Primary},
		{"S-RS-03 restricted, to the secondary", solicitor, Secondary, Secondary},
		{"S-RS-03 S-RS-04 cone, to the primary", coneSolicitor, Primary, Secondary},
		{"S-RS-03 S-RS-04 cone, to the secondary", coneSolicitor, Secondary, Primary},
		{"W-LL-03 random flags are not the cone bit", netip.MustParseAddr("fe80::3cff:ffff:ffff:ffff"), Primary, Primary},
		{"W-LL-03 cone bit among random flags", netip.MustParseAddr("fe80::bcff:ffff:ffff:ffff"), Primary, Secondary},
		{"W-LL-01 embedded address", teredo.ClientLinkLocal(false, netip.MustParseAddrPort("192.168.1.7:5000")), Primary, Primary},
	}
	h := newHandler(t, labConfig())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := handle(h, input{tt.local, mappedA, join(nonceAuth(), rs(tt.src))})
			if v.Action != Send || v.Local != tt.from || v.To != mappedA {
				t.Fatalf("got %+v, want it to leave from %d", v, tt.from)
			}
			var p teredo.Packet
			if err := p.Parse(v.Payload); err != nil {
				t.Fatal(err)
			}
			ra, err := teredo.ParseRouterAdvertisement(p.IPv6)
			if err != nil {
				t.Fatal(err)
			}
			// S-RS-02, S-RS-08, W-LL-02: the prefix has the primary address, wherever the solicitation came.
			want := teredo.RouterAdvertisement{
				Source: serverLL, Destination: tt.src, Prefix: netip.MustParsePrefix("2001:0:c000:201::/64"), MTU: teredo.MTU,
			}
			if ra != want {
				t.Errorf("advertisement %+v, want %+v", ra, want)
			}
			if p.Origin != mappedA {
				t.Errorf("origin %v, want %v", p.Origin, mappedA)
			}
		})
	}
}

// W-RA-01..05, as another implementation of Neighbor Discovery reads them.
func TestAdvertisementByNDP(t *testing.T) {
	v := handle(newHandler(t, labConfig()), input{from: mappedA, payload: rs(solicitor)})
	var p teredo.Packet
	if err := p.Parse(v.Payload); err != nil {
		t.Fatal(err)
	}
	m, err := ndp.ParseMessage(p.IPv6[teredo.HeaderLen:])
	if err != nil {
		t.Fatal(err)
	}
	ra := m.(*ndp.RouterAdvertisement)
	if ra.RouterLifetime != 0 || len(ra.Options) != 2 {
		t.Fatalf("got %+v", ra)
	}
	prefix := ra.Options[0].(*ndp.PrefixInformation)
	if prefix.Prefix != netip.MustParseAddr("2001:0:c000:201::") || prefix.PrefixLength != 64 ||
		!prefix.AutonomousAddressConfiguration || prefix.ValidLifetime != ndp.Infinity {
		t.Errorf("prefix %+v", prefix)
	}
	if mtu := ra.Options[1].(*ndp.MTU); mtu.MTU != 1280 {
		t.Errorf("MTU %d", mtu.MTU)
	}
}

// Behind a 1:1 NAT everything a client sees has the public address.
func TestAdvertisementBehindNAT(t *testing.T) {
	cfg := Config{Primary: netip.MustParseAddr("10.0.0.1"), Public: primaryAddr, Filter: labFilter()}
	v := handle(newHandler(t, cfg), input{from: mappedA, payload: rs(solicitor)})
	want := join(origin(mappedA), teredo.AppendRouterAdvertisement(nil, primaryAddr, solicitor))
	if v.Action != Send || !bytes.Equal(v.Payload, want) {
		t.Errorf("got %+v, want %x", v, want)
	}
}

// A client that asks is told the native prefix, within the bound on amplification, and signed if it has a secret. Nobody else is told.
func TestNativePrefixTold(t *testing.T) {
	native := labConfig()
	native.Native = netip.MustParsePrefix("2001:db8:c::/64")
	question := teredo.AppendNativeSolicitation(nil, solicitor)
	for name, test := range map[string]struct {
		cfg     Config
		payload []byte
		want    netip.Prefix
	}{
		"asked":               {native, question, native.Native},
		"asked, with a nonce": {native, join(teredo.AppendAuth(nil, teredo.Auth{Nonce: [8]byte{1}}), question), native.Native},
		"not asked":           {native, rs(solicitor), netip.Prefix{}},
		"without a prefix":    {labConfig(), question, netip.Prefix{}},
	} {
		v := handle(newHandler(t, test.cfg), input{from: mappedA, payload: test.payload})
		var p teredo.Packet
		if err := p.Parse(v.Payload); err != nil {
			t.Fatalf("%s: %+v, %v", name, v, err)
		}
		ra, err := teredo.ParseRouterAdvertisement(p.IPv6)
		if err != nil || ra.Native != test.want || len(v.Payload)-len(test.payload) > 56 {
			t.Errorf("%s: %d bytes for %d, %+v, %v", name, len(v.Payload), len(test.payload), ra, err)
		}
		if !test.want.IsValid() && len(p.IPv6) != 96 {
			t.Errorf("%s: the advertisement has %d bytes", name, len(p.IPv6))
		}
	}
}

// S-FWD-01: the server answers pings to itself, to whoever really sent them.
func TestEchoToServer(t *testing.T) {
	h := newHandler(t, labConfig())
	for _, dst := range []netip.Addr{serverLL, teredo.AllRouters()} {
		for _, local := range []int{Primary, Secondary} {
			request := ping(clientA, dst)
			v := handle(h, input{local, mappedA, join(request, make([]byte, 6))})
			if v.Action != Send || v.Kind != EchoToServer || v.Local != local || v.To != mappedA {
				t.Fatalf("to %v at %d: %+v", dst, local, v)
			}
			if len(v.Payload) > len(request) {
				t.Errorf("the reply has %d bytes, the request %d", len(v.Payload), len(request))
			}
			if src, to := teredo.Source(v.Payload), teredo.Destination(v.Payload); src != serverLL || to != clientA {
				t.Errorf("reply from %v to %v", src, to)
			}
			echo, err := teredo.ParseEcho(v.Payload)
			if err != nil || echo.Type != teredo.ICMPv6EchoReply || echo.ID != 7 || echo.Seq != 9 || string(echo.Data) != "0123456789abcdef" {
				t.Errorf("reply %+v, error %v", echo, err)
			}
		}
	}
}
