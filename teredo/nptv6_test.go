package teredo

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
)

// The example of RFC 6296 §3.1 to §3.3, in which the prefixes are /48s and the word is that of the subnet: FD01:203:405:1::1234 is
// 2001:DB8:1:D550::1234 outside.
func TestNativePrefixArithmetic(t *testing.T) {
	inside, outside := netip.MustParseAddr("fd01:203:405::").As16(), netip.MustParseAddr("2001:db8:1::").As16()
	d := difference(inside[:6], outside[:6])
	if d != 0xd54f {
		t.Errorf("the difference is %#04x, want 0xd54f", d)
	}
	if out := addWords(1, d); out != 0xd550 {
		t.Errorf("outwards, 0x0001 becomes %#04x, want 0xd550", out)
	}
	if in := addWords(0xd550, ^d); in != 1 {
		t.Errorf("inwards, 0xd550 becomes %#04x, want 0x0001", in)
	}
}

func nativePrefix(t testing.TB, server, prefix string) NativePrefix {
	p, err := NewNativePrefix(netip.MustParseAddr(server), netip.MustParsePrefix(prefix))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNativeAddress(t *testing.T) {
	ps := NativePrefixes{
		nativePrefix(t, "192.0.2.45", "2001:db8:c::/64"),
		nativePrefix(t, "192.0.2.46", "2001:db8:d::/64"),
	}
	for _, test := range []struct{ teredo, native string }{
		// 2001 + 0000 + c000 + 022d less 2001 + 0db8 + 000c is b469.
		{"2001:0:c000:22d:8000:63bf:3fff:fdd2", "2001:db8:c:0:346a:63bf:3fff:fdd2"}, // 8000 + b469 is 3469, and the carry
		{"2001:0:c000:22d:0:63bf:3fff:fdd2", "2001:db8:c:0:b469:63bf:3fff:fdd2"},
		{"2001:0:c000:22d:4b96:63bf:3fff:fdd2", "2001:db8:c:0:0:63bf:3fff:fdd2"}, // the sum is ffff, which is 0
		{"2001:0:c000:22d:ffff:0:3fff:fdd2", "2001:db8:c:0:ffff:b469:3fff:fdd2"}, // the first word has all ones
		{"2001:0:c000:22d:ffff:ffff:ffff:fdd2", "2001:db8:c:0:ffff:ffff:ffff:b23c"},
		{"2001:0:c000:22e:0:63bf:3fff:fdd2", "2001:db8:d:0:b469:63bf:3fff:fdd2"},
	} {
		teredo, native := netip.MustParseAddr(test.teredo), netip.MustParseAddr(test.native)
		if got, ok := ps.Native(teredo); !ok || got != native {
			t.Errorf("%v is %v, %v outside, want %v", teredo, got, ok, native)
		}
		if got, ok := ps.Teredo(native); !ok || got != teredo {
			t.Errorf("%v is %v, %v inside, want %v", native, got, ok, teredo)
		}
		if !ps.Contains(native) || ps.Contains(teredo) {
			t.Errorf("%v: in a native prefix %v; %v: %v", native, ps.Contains(native), teredo, ps.Contains(teredo))
		}
	}
	for _, other := range []string{"2001:0:c000:22f:8000:63bf:3fff:fdd2", "2001:db8::1", "2001:0:c000:22d:ffff:ffff:ffff:ffff", "192.0.2.1"} {
		if got, ok := ps.Native(netip.MustParseAddr(other)); ok {
			t.Errorf("%v is %v outside", other, got)
		}
	}
	for _, other := range []string{"2001:db8:e::1", "2001:0:c000:22d::1", "2001:db8:c:0:ffff:ffff:ffff:ffff"} {
		if got, ok := ps.Teredo(netip.MustParseAddr(other)); ok {
			t.Errorf("%v is %v inside", other, got)
		}
	}
}

func TestNewNativePrefixRefuses(t *testing.T) {
	for _, test := range []struct {
		server, prefix string
		want           error
	}{
		{"0.0.0.0", "2001:db8:c::/64", ErrNativeServer},
		{"2001:db8::1", "2001:db8:c::/64", ErrNativeServer},
		{"224.0.0.1", "2001:db8:c::/64", ErrNativeServer},
		{"192.0.2.1", "2001:db8:c::/48", ErrNativeLength},
		{"192.0.2.1", "2001:db8:c::/80", ErrNativeLength},
		{"192.0.2.1", "192.0.2.0/24", ErrNativeLength},
		{"192.0.2.1", "fd00:1::/64", ErrNativeScope},
		{"192.0.2.1", "fe80::/64", ErrNativeScope},
		{"192.0.2.1", "2001::/64", ErrNativeScope},
		{"192.0.2.1", "2002:c000:201::/64", ErrNativeScope},
	} {
		if _, err := NewNativePrefix(netip.MustParseAddr(test.server), netip.MustParsePrefix(test.prefix)); !errors.Is(err, test.want) {
			t.Errorf("%s, %s: %v, want %v", test.server, test.prefix, err, test.want)
		}
	}
}

// An error has the addresses of the packet that it quotes translated, and keeps a right checksum.
func TestNativeErrors(t *testing.T) {
	ps := NativePrefixes{nativePrefix(t, "192.0.2.45", "2001:db8:c::/64")}
	host, router := netip.MustParseAddr("2001:db8:1::80"), netip.MustParseAddr("2001:db8:2::1")
	client := netip.MustParseAddr("2001:0:c000:22d:8000:63bf:3fff:fdd2")
	native := netip.MustParseAddr("2001:db8:c:0:346a:63bf:3fff:fdd2")

	// A client cannot deliver what a host has sent: the host hears of the packet that it knows.
	out := AppendUnreachable(nil, client, UnreachablePort, AppendEchoReply(nil, host, AppendEchoRequest(nil, client, host, 1, 2, []byte("data!"))))
	ps.Outward(out)
	checkError(t, "from a client", out, native, host, host, native)

	// A router cannot forward what a client has sent.
	in := AppendUnreachable(nil, router, UnreachableNoRoute, AppendEchoReply(nil, native, AppendEchoRequest(nil, host, native, 1, 2, []byte("data!"))))
	if !ps.Inward(in) {
		t.Error("an error of a router is not translated")
	}
	checkError(t, "from a router", in, router, client, client, host)

	// What a relay says itself quotes the packet in its translated form.
	own := AppendUnreachable(nil, router, UnreachableAddress, AppendEchoReply(nil, host, AppendEchoRequest(nil, client, host, 1, 2, nil)))
	ps.Outward(own)
	checkError(t, "from a relay", own, router, host, host, native)

	// Behind an extension header: a destination options header with padding.
	withOptions := append(append(append([]byte(nil), in[:HeaderLen]...), nextICMPv6, 0, 1, 4, 0, 0, 0, 0), in[HeaderLen:]...)
	withOptions[6] = nextDestination
	binary.BigEndian.PutUint16(withOptions[4:], uint16(len(withOptions)-HeaderLen))
	copy(withOptions[24:40], native.AsSlice())
	copy(withOptions[HeaderLen+8+8+8:], native.AsSlice())
	if !ps.Inward(withOptions) || Source(withOptions[HeaderLen+16:]) != client {
		t.Errorf("behind an extension header: quoted source %v", Source(withOptions[HeaderLen+16:]))
	}

	// Data that looks alike in other packets is none of ours, nor is a quote that ends within its header.
	echo := AppendEchoRequest(nil, host, native, 1, 2, in[HeaderLen+8:])
	copy(echo[HeaderLen+8+8:], native.AsSlice())
	ps.Inward(echo)
	if Source(echo[HeaderLen+8:]) != native {
		t.Error("the data of an echo request is translated")
	}
	for n := HeaderLen; n < HeaderLen+8+HeaderLen; n++ {
		short := append([]byte(nil), out[:n]...)
		ps.Outward(short)
		copy(short[24:40], native.AsSlice())
		ps.Inward(short)
	}
}

func checkError(t *testing.T, name string, packet []byte, src, dst, quotedSrc, quotedDst netip.Addr) {
	t.Helper()
	if Source(packet) != src || Destination(packet) != dst {
		t.Errorf("%s: from %v to %v, want from %v to %v", name, Source(packet), Destination(packet), src, dst)
	}
	q := packet[HeaderLen+8:]
	if Source(q) != quotedSrc || Destination(q) != quotedDst {
		t.Errorf("%s: quotes a packet from %v to %v, want from %v to %v", name, Source(q), Destination(q), quotedSrc, quotedDst)
	}
	if sum := UpperLayerSum(packet); sum != 0xffff {
		t.Errorf("%s: the checksum is wrong: the sum is %#04x", name, sum)
	}
}

// Every address of a server's client has one native address, and the other way round. The single exception is the
// identifier of 64 ones. No checksum changes.
func FuzzNativePrefix(f *testing.F) {
	f.Add(uint32(0xc000022d), uint64(0x20010db8000c0000), uint64(0x800063bf3ffffdd2))
	f.Add(uint32(0xffffffff), uint64(0x2a00ffffffffffff), uint64(0xffffffff00000000))
	f.Add(uint32(1), uint64(0x2600000000000001), ^uint64(0))
	f.Fuzz(func(t *testing.T, server uint32, prefix, identifier uint64) {
		var s [4]byte
		binary.BigEndian.PutUint32(s[:], server)
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], prefix&^(7<<61)|1<<61) // in 2000::/3
		p, err := NewNativePrefix(netip.AddrFrom4(s), netip.PrefixFrom(netip.AddrFrom16(b), 64))
		if err != nil {
			t.Skip()
		}
		ps := NativePrefixes{p}
		binary.BigEndian.PutUint64(b[8:], identifier)
		native := netip.AddrFrom16(b)
		teredo := Address{Server: p.Server()}.Addr().As16()
		binary.BigEndian.PutUint64(teredo[8:], identifier)
		client := netip.AddrFrom16(teredo)

		outside, ok := ps.Native(client)
		if ok != (identifier != 1<<64-1) {
			t.Fatalf("%v: translated %v", client, ok)
		}
		if !ok {
			return
		}
		if back, ok := ps.Teredo(outside); !ok || back != client {
			t.Errorf("%v is %v outside, which is %v, %v inside", client, outside, back, ok)
		}
		inside, ok := ps.Teredo(native)
		if back, ok2 := ps.Native(inside); !ok || !ok2 || back != native {
			t.Errorf("%v is %v, %v inside, which is %v, %v outside", native, inside, ok, back, ok2)
		}
		if ServerOf(inside) != p.Server() || !p.Prefix().Contains(outside) {
			t.Errorf("%v and %v have other prefixes than %v", inside, outside, p)
		}
		x, y := client.As16(), outside.As16()
		if addWords(onesComplementSum(x[:], 0), 0) != addWords(onesComplementSum(y[:], 0), 0) {
			t.Errorf("%v and %v do not add up to the same", client, outside)
		}
	})
}
