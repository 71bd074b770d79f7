package teredo_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/ndp"

	"github.com/teredo-suite/teredo/teredo"
)

var (
	serverV4   = netip.MustParseAddr("203.0.113.120")
	serverLL   = netip.MustParseAddr("fe80::8000:f227:34ff:8e87")
	clientLL   = netip.MustParseAddr("fe80::ffff:ffff:ffff")
	allRouters = netip.MustParseAddr("ff02::2")
	teredoNet  = netip.MustParsePrefix("2001:0:cb00:7178::/64")
)

// addresses lets cmp compare the address types of net/netip.
var addresses = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// W-RS-01
func TestSolicitationVector(t *testing.T) {
	want := vector(t, "rs")
	got := teredo.AppendRouterSolicitation(nil, clientLL)
	wantBytes(t, "solicitation", got, want)
	if src, err := teredo.ParseRouterSolicitation(got); err != nil || src != clientLL {
		t.Errorf("got %s, %v", src, err)
	}
}

// W-RA-01..04, K-15
func TestAdvertisementVector(t *testing.T) {
	want := vector(t, "ra")
	got := teredo.AppendRouterAdvertisement(nil, serverV4, clientLL)
	wantBytes(t, "advertisement", got, want)

	ra, err := teredo.ParseRouterAdvertisement(got)
	if err != nil {
		t.Fatal(err)
	}
	if want := (teredo.RouterAdvertisement{Source: serverLL, Destination: clientLL, Prefix: teredoNet, MTU: 1280}); ra != want {
		t.Errorf("got %+v, want %+v", ra, want)
	}
}

// What we write, ndp reads.
func TestNDPReadsOurs(t *testing.T) {
	m, err := ndp.ParseMessage(teredo.AppendRouterSolicitation(nil, clientLL)[40:])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ndp.Message(&ndp.RouterSolicitation{}), m); diff != "" {
		t.Error(diff)
	}

	m, err = ndp.ParseMessage(teredo.AppendRouterAdvertisement(nil, serverV4, clientLL)[40:])
	if err != nil {
		t.Fatal(err)
	}
	want := &ndp.RouterAdvertisement{Options: []ndp.Option{ndpPrefix(teredoNet), ndp.NewMTU(1280)}}
	if diff := cmp.Diff(ndp.Message(want), m, addresses); diff != "" {
		t.Error(diff)
	}
}

// What ndp writes, byte for byte with its checksum, we write and read too.
func TestWeReadNDP(t *testing.T) {
	rs := ndpPacket(t, &ndp.RouterSolicitation{}, clientLL, allRouters)
	wantBytes(t, "solicitation", teredo.AppendRouterSolicitation(nil, clientLL), rs)

	ra := ndpPacket(t, &ndp.RouterAdvertisement{Options: []ndp.Option{ndpPrefix(teredoNet), ndp.NewMTU(1280)}}, serverLL, clientLL)
	wantBytes(t, "advertisement", teredo.AppendRouterAdvertisement(nil, serverV4, clientLL), ra)
}

// W-RS-02, RFC 4861 §6.1.1
func TestParseSolicitation(t *testing.T) {
	message := unhex(t, "85 00 0000 00000000")
	linkLayer := unhex(t, "01 01 020304050607")
	with := func(parts ...[]byte) []byte {
		m := append([]byte{}, message...)
		for _, p := range parts {
			m = append(m, p...)
		}
		return icmpPacket(clientLL, allRouters, 255, m)
	}
	for _, c := range []struct {
		name string
		ipv6 []byte
		want error
	}{
		{"plain", with(), nil},
		{"reserved bits", icmpPacket(clientLL, allRouters, 255, unhex(t, "85 00 0000 ffffffff")), nil},
		{"link-layer option", with(linkLayer), nil},
		{"two options", with(linkLayer, unhex(t, "fd 02 0000 0000 0000 0000 0000 0000 0000")), nil},
		{"option of length 0", with(linkLayer, unhex(t, "01 00 0000 0000 0000")), teredo.ErrOptionLength},
		{"option past the end", with(unhex(t, "01 02 0000 0000 0000")), teredo.ErrOptionLength},
		{"half an option header", with([]byte{1}), teredo.ErrOptionLength},
		{"hop limit 254", icmpPacket(clientLL, allRouters, 254, message), teredo.ErrHopLimit},
		{"code 1", icmpPacket(clientLL, allRouters, 255, unhex(t, "85 01 0000 00000000")), teredo.ErrICMPv6Code},
		{"advertisement", icmpPacket(clientLL, allRouters, 255, unhex(t, "86 00 0000 00000000")), teredo.ErrICMPv6Type},
		{"4 bytes", icmpPacket(clientLL, allRouters, 255, message[:4]), teredo.ErrICMPv6Short},
		{"global source", icmpPacket(clientA, allRouters, 255, message), teredo.ErrNotLinkLocal},
		{"unspecified source", icmpPacket(netip.IPv6Unspecified(), allRouters, 255, message), teredo.ErrNotLinkLocal},
		{"to the server itself", icmpPacket(clientLL, serverLL, 255, message), teredo.ErrNotAllRouters},
		{"to all nodes", icmpPacket(clientLL, teredo.AllNodes(), 255, message), teredo.ErrNotAllRouters},
		{"checksum", rewrite(with(), 47, 1), teredo.ErrICMPv6Checksum},
		{"bubble", ipv6Packet(clientLL, allRouters, 59, 255, nil), teredo.ErrNotICMPv6},
		{"cut short", with()[:47], teredo.ErrIPv6Length},
	} {
		src, err := teredo.ParseRouterSolicitation(c.ipv6)
		if !errors.Is(err, c.want) || (err == nil) != src.IsValid() {
			t.Errorf("%s: got %v, %v; want error %v", c.name, src, err, c.want)
		}
	}
}

// W-RA-02, W-RA-03, W-RA-05, C-QUAL-09, C-QUAL-10, C-QUAL-17
func TestParseAdvertisement(t *testing.T) {
	const header = "86 00 0000 40 c0 0708 00000001 00000002"
	const prefix = "03 04 40 c0 00000001 00000000 00000000 2001 0000 cb00 7178 0000 0000 0000 0000"
	const mtu = "05 01 0000 00000578"
	packet := func(text ...string) []byte {
		var m []byte
		for _, s := range text {
			m = append(m, unhex(t, s)...)
		}
		return icmpPacket(serverLL, clientLL, 255, m)
	}
	good := packet(header, prefix, mtu)
	message := good[40:]

	for _, c := range []struct {
		name string
		ipv6 []byte
		mtu  uint32
		want error
	}{
		{"flags and lifetimes do not matter", good, 1400, nil},
		{"no MTU", packet(header, prefix), 0, nil},
		{"MTU first", packet(header, mtu, prefix), 1400, nil},
		{"unknown options", packet(header, "fd 01 000000000000", prefix, "fe 02 0000 0000 0000 0000 0000 0000 0000", mtu), 1400, nil},
		{"route information", packet(header, prefix, "18 01 00 00 ffffffff"), 0, nil},
		{"bit 64 set", packet(header, "03 04 40 c0 00000001 00000000 00000000 2001 0000 cb00 7178 8000 0000 0000 0000"), 0, nil},
		{"bit 127 set", packet(header, "03 04 40 c0 00000001 00000000 00000000 2001 0000 cb00 7178 0000 0000 0000 0001"), 0, nil},
		{"bits after the prefix, as Microsoft's servers have them", packet("86 00 0000 00 00 0000 00003a98 000007d0", "03 04 40 40 ffffffff ffffffff 00000000 2001 0000 cb00 7178 ff00 0000 0020 0100"), 0, nil},

		{"no prefix", packet(header, mtu), 0, teredo.ErrPrefixCount},
		{"no options", packet(header), 0, teredo.ErrPrefixCount},
		{"two prefixes", packet(header, prefix, prefix), 0, teredo.ErrPrefixCount},
		{"two different prefixes", packet(header, prefix, "03 04 40 c0 00000001 00000000 00000000 2001 0db8 0000 0000 0000 0000 0000 0000"), 0, teredo.ErrPrefixCount},
		{"prefix length 32", packet(header, "03 04 20 c0 00000001 00000000 00000000 2001 0000 0000 0000 0000 0000 0000 0000"), 0, teredo.ErrPrefixLength},
		{"prefix length 255", packet(header, "03 04 ff c0 00000001 00000000 00000000 2001 0000 cb00 7178 0000 0000 0000 0000"), 0, teredo.ErrPrefixLength},
		{"native prefix", packet(header, "03 04 40 c0 00000001 00000000 00000000 2001 0db8 cb00 7178 0000 0000 0000 0000"), 0, teredo.ErrPrefixRange},
		{"prefix option of 8 bytes", packet(header, "03 01 40 c0 00000001"), 0, teredo.ErrOptionLength},
		{"prefix option of 40 bytes", packet(header, "03 05 40 c0 00000001 00000000 00000000 2001 0000 cb00 7178 0000 0000 0000 0000 0000 0000 0000 0000"), 0, teredo.ErrOptionLength},
		{"MTU option of 16 bytes", packet(header, prefix, "05 02 0000 00000578 00000000 00000000"), 0, teredo.ErrOptionLength},
		{"option of length 0", packet(header, prefix, "fd 00 000000000000"), 0, teredo.ErrOptionLength},
		{"option past the end", packet(header, prefix, "fd 02 000000000000"), 0, teredo.ErrOptionLength},
		{"half an option header", packet(header, prefix, "fd"), 0, teredo.ErrOptionLength},

		{"hop limit 254", icmpPacket(serverLL, clientLL, 254, message), 0, teredo.ErrHopLimit},
		{"code 1", icmpPacket(serverLL, clientLL, 255, rewrite(message, 1, 1)), 0, teredo.ErrICMPv6Code},
		{"redirect", icmpPacket(serverLL, clientLL, 255, rewrite(message, 0, 137)), 0, teredo.ErrICMPv6Type},
		{"15 bytes", icmpPacket(serverLL, clientLL, 255, message[:15]), 0, teredo.ErrICMPv6Short},
		{"global source", icmpPacket(native, clientLL, 255, message), 0, teredo.ErrNotLinkLocal},
		{"checksum", rewrite(good, 44, 0), 0, teredo.ErrICMPv6Checksum},
		{"bubble", ipv6Packet(serverLL, clientLL, 59, 255, nil), 0, teredo.ErrNotICMPv6},
		{"cut short", good[:len(good)-1], 0, teredo.ErrIPv6Length},
	} {
		ra, err := teredo.ParseRouterAdvertisement(c.ipv6)
		want := teredo.RouterAdvertisement{}
		if c.want == nil {
			want = teredo.RouterAdvertisement{Source: serverLL, Destination: clientLL, Prefix: teredoNet, MTU: c.mtu}
		}
		if !errors.Is(err, c.want) || ra != want {
			t.Errorf("%s: got %+v, %v; want %+v, %v", c.name, ra, err, want, c.want)
		}
	}
}

// A template makes what AppendRouterAdvertisement makes, whatever the checksum comes to.
func TestAdvertisementTemplate(t *testing.T) {
	template := teredo.NewAdvertisementTemplate(serverV4)
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		var dst [16]byte
		binary.BigEndian.PutUint64(dst[random.IntN(9):], random.Uint64())
		to := netip.AddrFrom16(dst)
		got, want := template.Append([]byte{1}, to), teredo.AppendRouterAdvertisement([]byte{1}, serverV4, to)
		if !bytes.Equal(got, want) {
			t.Fatalf("to %v: %x, want %x", to, got, want)
		}
	}
}

// The option for a native prefix, in question and answer, byte by byte. Other implementations see an option that they do not know.
func TestNativeOption(t *testing.T) {
	p, err := teredo.NewNativePrefix(serverV4, netip.MustParsePrefix("2001:db8:c:d::/64"))
	if err != nil {
		t.Fatal(err)
	}
	question, answer := teredo.AppendNativeSolicitation(nil, clientLL), teredo.AppendNativeAdvertisement(nil, p, clientLL)
	wantBytes(t, "question", question[48:], append([]byte{253, 2}, "native\x00\x00\x00\x00\x00\x00\x00\x00"...))
	wantBytes(t, "answer", answer[96:], append([]byte{253, 2}, "native\x20\x01\x0d\xb8\x00\x0c\x00\x0d"...))
	if src, err := teredo.ParseRouterSolicitation(question); err != nil || src != clientLL || !teredo.AsksNativePrefix(question) {
		t.Errorf("question: %v, %v", src, err)
	}
	if teredo.AsksNativePrefix(teredo.AppendRouterSolicitation(nil, clientLL)) {
		t.Error("a plain solicitation asks")
	}
	ra, err := teredo.ParseRouterAdvertisement(answer)
	if err != nil || ra.Native != p.Prefix() || teredo.ServerOf(ra.Prefix.Addr()) != serverV4 {
		t.Errorf("answer: %+v, %v", ra, err)
	}
	if ra, err := teredo.ParseRouterAdvertisement(teredo.AppendRouterAdvertisement(nil, serverV4, clientLL)); err != nil || ra.Native.IsValid() {
		t.Errorf("a plain advertisement: %+v, %v", ra, err)
	}
	for _, at := range []int{0, 2, 7} { // of another type, or another experiment
		other := bytes.Clone(question)
		other[48+at]++
		if teredo.AsksNativePrefix(other) {
			t.Errorf("asks with another byte %d", at)
		}
	}
	template := teredo.NewNativeAdvertisementTemplate(p)
	wantBytes(t, "template", template.Append(nil, clientLL), answer)
	for _, packet := range [][]byte{question, answer} {
		if _, err := ndp.ParseMessage(packet[40:]); err != nil {
			t.Error(err)
		}
	}
}

// ndpPrefix is the prefix option that AppendRouterAdvertisement writes.
func ndpPrefix(p netip.Prefix) *ndp.PrefixInformation {
	return &ndp.PrefixInformation{
		PrefixLength:                   uint8(p.Bits()),
		AutonomousAddressConfiguration: true,
		ValidLifetime:                  ndp.Infinity,
		PreferredLifetime:              ndp.Infinity,
		Prefix:                         p.Addr(),
	}
}

// ndpPacket lets ndp write a message with its checksum.
func ndpPacket(t *testing.T, m ndp.Message, src, dst netip.Addr) []byte {
	t.Helper()
	b, err := ndp.MarshalMessageChecksum(m, src, dst)
	if err != nil {
		t.Fatal(err)
	}
	return ipv6Packet(src, dst, 58, 255, b)
}
