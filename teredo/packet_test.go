package teredo_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// appendPacket puts a payload together again from its parts.
func appendPacket(b []byte, p *teredo.Packet) []byte {
	if p.HasAuth {
		b = teredo.AppendAuth(b, p.Auth)
	}
	if p.Origin.IsValid() {
		b = teredo.AppendOrigin(b, p.Origin)
	}
	b = append(b, p.IPv6...)
	return append(b, p.Trailers...)
}

func TestParse(t *testing.T) {
	bubble := ipv6Packet(clientA, clientB, 59, 255, nil)
	data := ipv6Packet(clientA, clientB, 17, 64, []byte("some data"))
	nonceOnly := unhex(t, "0001 0000 0102030405060708 00")
	fullAuth := unhex(t, "0001 0702 636c69656e7431 beef 0102030405060708 01")
	origin := unhex(t, "0000 efff 3ffffdfe")
	from := netip.MustParseAddrPort("192.0.2.1:4096")

	for _, c := range []struct {
		name     string
		parts    [][]byte
		auth     bool
		origin   netip.AddrPort
		ipv6     []byte
		trailers int
	}{
		{"bubble", [][]byte{bubble}, false, netip.AddrPort{}, bubble, 0},
		{"data", [][]byte{data}, false, netip.AddrPort{}, data, 0},
		{"origin", [][]byte{origin, bubble}, false, from, bubble, 0},
		{"nonce only", [][]byte{nonceOnly, bubble}, true, netip.AddrPort{}, bubble, 0},
		{"W-ENC-01 authentication and origin", [][]byte{fullAuth, origin, data}, true, from, data, 0},
		{"W-ENC-03 trailer", [][]byte{bubble, {1, 4, 0xde, 0xad, 0xbe, 0xef}}, false, netip.AddrPort{}, bubble, 6},
		{"everything", [][]byte{fullAuth, origin, data, {1, 4, 0, 0, 0, 1, 5, 2, 0, 1}}, true, from, data, 10},
		{"trailing junk", [][]byte{data, {0xff}}, false, netip.AddrPort{}, data, 1},
		{"origin zero", [][]byte{unhex(t, "0000 ffff ffffffff"), bubble}, false, netip.MustParseAddrPort("0.0.0.0:0"), bubble, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var payload []byte
			for _, part := range c.parts {
				payload = append(payload, part...)
			}
			var p teredo.Packet
			if err := p.Parse(payload); err != nil {
				t.Fatal(err)
			}
			if p.HasAuth != c.auth || p.Origin != c.origin || len(p.Trailers) != c.trailers {
				t.Errorf("got %+v", p)
			}
			wantBytes(t, "IPv6 packet", p.IPv6, c.ipv6)
			wantBytes(t, "put together again", appendPacket(nil, &p), payload)
		})
	}
}

func TestParseMalformed(t *testing.T) {
	bubble := ipv6Packet(clientA, clientB, 59, 255, nil)
	data := ipv6Packet(clientA, clientB, 17, 64, make([]byte, 300))
	auth := unhex(t, "0001 0201 aabb cc 0102030405060708 00")
	origin := unhex(t, "0000 efff 3ffffdfe")

	for _, c := range []struct {
		name  string
		parts [][]byte
		want  error
	}{
		{"empty", nil, teredo.ErrIPv6Truncated},
		{"one zero byte", [][]byte{{0}}, teredo.ErrNotTeredo},
		{"IPv4", [][]byte{{0x45}, make([]byte, 60)}, teredo.ErrNotTeredo},
		{"IP version 7", [][]byte{rewrite(bubble, 0, 0x70)}, teredo.ErrNotTeredo},
		{"unknown indicator", [][]byte{{0, 2}, bubble}, teredo.ErrNotTeredo},
		{"no IPv6 after origin", [][]byte{origin}, teredo.ErrIPv6Truncated},
		{"junk after origin", [][]byte{origin, {0x50}}, teredo.ErrNotTeredo},
		{"one zero byte after origin", [][]byte{origin, {0}}, teredo.ErrNotTeredo},
		{"W-ENC-01 origin first", [][]byte{origin, auth, bubble}, teredo.ErrAuthOrder},
		{"W-ENC-01 authentication twice", [][]byte{auth, auth, bubble}, teredo.ErrAuthOrder},
		{"W-ENC-01 origin twice", [][]byte{origin, origin, bubble}, teredo.ErrOriginRepeated},
		{"W-ENC-01 authentication on both sides", [][]byte{auth, origin, auth, bubble}, teredo.ErrAuthOrder},
		{"header cut short", [][]byte{bubble[:39]}, teredo.ErrIPv6Truncated},
		{"W-ENC-03 payload cut short", [][]byte{data[:len(data)-1]}, teredo.ErrIPv6Truncated},
		{"W-ENC-03 payload length at its largest", [][]byte{rewrite(data, 4, 0xff, 0xff)}, teredo.ErrIPv6Truncated},
		{"W-AUTH-02 lengths at their largest", [][]byte{{0, 1, 255, 255}, make([]byte, 255+255+8)}, teredo.ErrAuthTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			var payload []byte
			for _, part := range c.parts {
				payload = append(payload, part...)
			}
			var p teredo.Packet
			if err := p.Parse(payload); !errors.Is(err, c.want) {
				t.Errorf("got error %v, want %v", err, c.want)
			}
		})
	}
}

// Every prefix of a payload is malformed, until the IPv6 packet is whole.
func TestParseTruncated(t *testing.T) {
	payload := vector(t, "ra-auth-origin")
	var p teredo.Packet
	for n := range payload {
		err := p.Parse(payload[:n])
		var want error
		switch {
		case n == 0:
			want = teredo.ErrIPv6Truncated
		case n == 1, n == 41: // half an indicator
			want = teredo.ErrNotTeredo
		case n < 40:
			want = teredo.ErrAuthTruncated
		case n > 41 && n < 48:
			want = teredo.ErrOriginTruncated
		default:
			want = teredo.ErrIPv6Truncated
		}
		if !errors.Is(err, want) {
			t.Errorf("%d bytes: got error %v, want %v", n, err, want)
		}
	}
	if err := p.Parse(payload); err != nil {
		t.Error(err)
	}
}

// A Packet that is used again keeps nothing of the payload before.
func TestParseReuse(t *testing.T) {
	var p teredo.Packet
	if err := p.Parse(append(vector(t, "ra-auth-origin"), 1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := p.Parse(ipv6Packet(clientA, clientB, 59, 255, nil)); err != nil {
		t.Fatal(err)
	}
	if p.HasAuth || p.Origin.IsValid() || p.Auth.ClientID != nil || len(p.Trailers) != 0 || len(p.IPv6) != 40 {
		t.Errorf("got %+v", p)
	}
}

// Appending to a part of the packet must not write over the part that follows it.
func TestParseLimitsCapacity(t *testing.T) {
	payload := append(vector(t, "ra-auth-origin"), 1, 4, 0xde, 0xad, 0xbe, 0xef)
	var p teredo.Packet
	if err := p.Parse(payload); err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{p.Auth.ClientID, p.Auth.Value, p.IPv6} {
		if cap(part) != len(part) {
			t.Errorf("%d bytes with room for %d", len(part), cap(part))
		}
	}
}

func TestCheckIPv6(t *testing.T) {
	data := ipv6Packet(clientA, native, 6, 64, make([]byte, 600))
	for _, c := range []struct {
		name   string
		packet []byte
		want   error
	}{
		{"whole", data, nil},
		{"header only", ipv6Packet(clientA, native, 59, 1, nil), nil},
		{"empty", nil, teredo.ErrIPv6Header},
		{"header cut short", data[:39], teredo.ErrIPv6Header},
		{"version 4", rewrite(data, 0, 0x45), teredo.ErrIPv6Version},
		{"a byte missing", data[:len(data)-1], teredo.ErrIPv6Length},
		{"a byte too many", append(data[:len(data):len(data)], 0), teredo.ErrIPv6Length},
	} {
		if err := teredo.CheckIPv6(c.packet); !errors.Is(err, c.want) {
			t.Errorf("%s: got error %v, want %v", c.name, err, c.want)
		}
	}
	if teredo.Source(data) != clientA || teredo.Destination(data) != native || teredo.NextHeader(data) != 6 {
		t.Error("header fields differ from those the packet was built with")
	}
}
