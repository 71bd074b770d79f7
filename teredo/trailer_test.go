package teredo_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

var (
	alternate1 = netip.MustParseAddrPort("192.168.1.2:55212")
	alternate2 = netip.MustParseAddrPort("10.0.0.1:1")
	alternate3 = netip.MustParseAddrPort("203.0.113.1:65535")
	alternate4 = netip.MustParseAddrPort("8.8.8.8:3544")
)

func TestTrailerBytes(t *testing.T) {
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"W-TRL-01 nonce":              {teredo.AppendNonceTrailer(nil, [4]byte{0xde, 0xad, 0xbe, 0xef}), "01 04 deadbeef"},
		"W-TRL-06 random port":        {teredo.AppendRandomPortTrailer(nil, 0x1234), "05 02 1234"},
		"W-TRL-05 solicitation":       {teredo.AppendNeighborDiscoveryTrailer(nil, teredo.DiscoverySolicitation), "04 04 00000000"},
		"W-TRL-05 advertisement":      {teredo.AppendNeighborDiscoveryTrailer(nil, teredo.DiscoveryAdvertisement), "04 04 01000000"},
		"W-TRL-02 one alternate":      {teredo.AppendAlternateAddressTrailer(nil, alternate1), "03 08 0000 c0a80102 d7ac"},
		"W-TRL-02 two alternates":     {teredo.AppendAlternateAddressTrailer(nil, alternate1, alternate2), "03 0e 0000 c0a80102 d7ac 0a000001 0001"},
		"W-TRL-02 no alternate":       {teredo.AppendAlternateAddressTrailer(nil), ""},
		"W-TRL-02 at most 4 of these": {teredo.AppendAlternateAddressTrailer(nil, alternate1, alternate1, alternate1, alternate1, alternate2), "03 1a 0000 c0a80102d7ac c0a80102d7ac c0a80102d7ac c0a80102d7ac"},
	} {
		wantBytes(t, name, c.got, unhex(t, c.want))
	}
}

// MaxTrailers has room for one of each at its largest.
func TestMaxTrailers(t *testing.T) {
	b := teredo.AppendNonceTrailer(nil, [4]byte{1})
	b = teredo.AppendAlternateAddressTrailer(b, alternate1, alternate2, alternate3, alternate4)
	b = teredo.AppendNeighborDiscoveryTrailer(b, 0)
	b = teredo.AppendRandomPortTrailer(b, 1)
	if len(b) != teredo.MaxTrailers {
		t.Errorf("%d bytes, want %d", len(b), teredo.MaxTrailers)
	}
}

// X-TRL-01, X-TRL-03: trailers come in packet order, up to the end or the first malformed one.
func TestNextTrailer(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes string
		want  []uint8
	}{
		{"none", "", nil},
		{"one", "01 04 deadbeef", []uint8{1}},
		{"order of the packet", "05 02 0001 01 04 deadbeef 04 04 00000000", []uint8{5, 1, 4}},
		{"empty value", "80 00 81 00", []uint8{0x80, 0x81}},
		{"one byte left", "01 04 deadbeef 05", []uint8{1}},
		{"one byte alone", "01", nil},
		{"value cut short", "01 04 deadbeef 05 02 00", []uint8{1}},
		{"length at its largest", "01 ff 00", nil},
	} {
		var got []uint8
		rest := unhex(t, c.bytes)
		for {
			tr, next, ok := teredo.NextTrailer(rest)
			if !ok {
				break
			}
			got, rest = append(got, tr.Type), next
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got types %v, want %v", c.name, got, c.want)
		}
	}
}

// X-TRL-02: of the unknown types only 0x40 to 0x7F condemn the packet, and no known one does.
func TestTrailerDiscard(t *testing.T) {
	for typ := range 256 {
		if got, want := (teredo.Trailer{Type: uint8(typ)}).Discard(), typ >= 0x40 && typ <= 0x7f; got != want {
			t.Errorf("type %#02x: got %v", typ, got)
		}
	}
}

// W-TRL-07: a known type with an illegal length is not read.
func TestTrailerValues(t *testing.T) {
	trailer := func(text string) teredo.Trailer {
		tr, rest, ok := teredo.NextTrailer(unhex(t, text))
		if !ok || len(rest) != 0 {
			t.Fatalf("%s is not one trailer", text)
		}
		return tr
	}
	for text, want := range map[string]bool{
		"01 04 deadbeef": true, "01 03 deadbe": false, "01 05 deadbeef00": false, "01 00": false, "05 04 deadbeef": false,
	} {
		nonce, ok := trailer(text).Nonce()
		if ok != want || ok && nonce != [4]byte{0xde, 0xad, 0xbe, 0xef} {
			t.Errorf("nonce of %s: got %x, %v", text, nonce, ok)
		}
	}
	for text, want := range map[string]bool{
		"05 02 1234": true, "02 02 1234": true /* */, "05 01 12": false, "05 04 12340000": false, "02 04 12340000": false, "01 02 1234": false,
	} {
		port, ok := trailer(text).RandomPort()
		if ok != want || ok && port != 0x1234 {
			t.Errorf("random port of %s: got %#x, %v", text, port, ok)
		}
	}
	for text, want := range map[string]int{
		"04 04 00000000": 0, "04 04 01000000": 1, "04 04 01ffffff": 1, "04 04 02000000": -1, "04 03 000000": -1, "04 00": -1, "01 04 00000000": -1,
	} {
		kind, ok := trailer(text).NeighborDiscovery()
		if ok != (want >= 0) || ok && int(kind) != want {
			t.Errorf("neighbor discovery of %s: got %d, %v", text, kind, ok)
		}
	}
}

// W-TRL-02, W-TRL-03, X-HP-06, X-HP-07
func TestAlternateAddresses(t *testing.T) {
	all := []netip.AddrPort{alternate1, alternate2, alternate3, alternate4}
	for n := 1; n <= len(all); n++ {
		b := teredo.AppendAlternateAddressTrailer(nil, all[:n]...)
		b[2], b[3] = 0xff, 0xff // reserved, ignored on receipt
		tr, _, ok := teredo.NextTrailer(b)
		if !ok {
			t.Fatal("not a trailer")
		}
		got, ok := tr.AlternateAddresses([]netip.AddrPort{alternate4})
		if want := append([]netip.AddrPort{alternate4}, all[:n]...); !ok || !slices.Equal(got, want) {
			t.Errorf("got %v, %v; want %v", got, ok, want)
		}
	}
	for name, text := range map[string]string{
		"empty":                    "03 00",
		"one byte":                 "03 01 00",
		"no entry":                 "03 02 0000",
		"length 7":                 "03 07 0000 c0a80102 d7",
		"length 9":                 "03 09 0000 c0a80102 d7ac 00",
		"five entries":             "03 20 0000 c0a80102d7ac c0a80102d7ac c0a80102d7ac c0a80102d7ac c0a80102d7ac",
		"port 0":                   "03 08 0000 c0a80102 0000",
		"port 0 in the last entry": "03 0e 0000 c0a80102 d7ac c0a80102 0000",
		"0.0.0.0":                  "03 08 0000 00000000 d7ac",
		"0.1.2.3":                  "03 08 0000 00010203 d7ac",
		"loopback":                 "03 08 0000 7f000001 d7ac",
		"multicast":                "03 08 0000 e00000fd d7ac",
		"reserved":                 "03 08 0000 f0000001 d7ac",
		"broadcast":                "03 08 0000 ffffffff d7ac",
		"another type":             "01 08 0000 c0a80102 d7ac",
	} {
		tr, _, ok := teredo.NextTrailer(unhex(t, text))
		if !ok {
			t.Fatalf("%s: not a trailer", name)
		}
		dst := []netip.AddrPort{alternate4}
		if got, ok := tr.AlternateAddresses(dst); ok || !slices.Equal(got, dst) {
			t.Errorf("%s: got %v, %v", name, got, ok)
		}
	}
}
