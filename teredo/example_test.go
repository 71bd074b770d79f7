package teredo_test

import (
	"fmt"
	"net/netip"

	"github.com/teredo-suite/teredo/teredo"
)

func ExampleParseAddress() {
	a, ok := teredo.ParseAddress(netip.MustParseAddr("2001:0:4136:e378:8000:63bf:3fff:fdd2"))
	fmt.Println(ok, a.Server, a.Mapped)
	// Output: true 65.54.227.120 192.0.2.45:40000
}

func ExampleAddress_Addr() {
	a := teredo.Address{
		Server: netip.MustParseAddr("65.54.227.120"),
		Mapped: netip.MustParseAddrPort("192.0.2.45:40000"),
	}
	fmt.Println(a.Addr())
	// Output: 2001:0:4136:e378:0:63bf:3fff:fdd2
}

func ExamplePacket_Parse() {
	// A bubble that the server has forwarded, with a nonce trailer.
	src, dst := netip.MustParseAddr("2001:0:4136:e378:0:63bf:3fff:fdd2"), netip.MustParseAddr("2001:0:4136:e378:0:eacd:3fff:fdff")
	payload := teredo.AppendOrigin(nil, netip.MustParseAddrPort("192.0.2.45:40000"))
	payload = teredo.AppendBubble(payload, src, dst, teredo.DefaultHopLimit)
	payload = teredo.AppendNonceTrailer(payload, [4]byte{1, 2, 3, 4})

	var p teredo.Packet
	if err := p.Parse(payload); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("origin:", p.Origin)
	fmt.Println("bubble:", teredo.IsBubble(p.IPv6), "from", teredo.Source(p.IPv6))
	for t, rest, ok := teredo.NextTrailer(p.Trailers); ok; t, rest, ok = teredo.NextTrailer(rest) {
		nonce, is := t.Nonce()
		fmt.Println("nonce:", nonce, is)
	}
	// Output:
	// origin: 192.0.2.45:40000
	// bubble: true from 2001:0:4136:e378:0:63bf:3fff:fdd2
	// nonce: [1 2 3 4] true
}

func ExampleParseRouterAdvertisement() {
	client := teredo.ClientLinkLocal(false, netip.AddrPort{})
	packet := teredo.AppendRouterAdvertisement(nil, netip.MustParseAddr("65.54.227.120"), client)
	ra, err := teredo.ParseRouterAdvertisement(packet)
	fmt.Println(ra.Prefix, teredo.ServerOf(ra.Prefix.Addr()), ra.MTU, err)

	packet[len(packet)-1]++
	_, err = teredo.ParseRouterAdvertisement(packet)
	fmt.Println(err)
	// Output:
	// 2001:0:4136:e378::/64 65.54.227.120 1280 <nil>
	// ICMPv6 checksum is wrong
}

func ExampleFilter() {
	strict := teredo.Filter{}
	lab := teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}}
	private := netip.MustParseAddr("192.168.1.2")
	fmt.Println(strict.Global(private), lab.Global(private))
	// Output: false true
}

func ExampleOutbox() {
	var out teredo.Outbox
	peer := netip.MustParseAddrPort("198.51.100.7:4096")
	src, dst := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:0:4136:e378:0:efff:39cc:9bf8")
	out.Send(peer, teredo.AppendBubble(out.Next(), src, dst, teredo.DefaultHopLimit))
	for _, d := range out.Datagrams() {
		fmt.Println(len(d.Payload), "bytes to", d.Remote)
	}
	out.Reset()
	// Output: 40 bytes to 198.51.100.7:4096
}
