package teredo_test

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

func BenchmarkParse(b *testing.B) {
	for name, payload := range map[string][]byte{
		"data":           ipv6Packet(clientA, native, 17, 64, make([]byte, 1200)),
		"bubble+nonce":   vector(b, "bubble-nonce"),
		"auth+origin+RA": vector(b, "ra-auth-origin"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var p teredo.Packet
			for b.Loop() {
				if err := p.Parse(payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAddress(b *testing.B) {
	packet := ipv6Packet(clientA, native, 17, 64, make([]byte, 1200))
	want := netip.MustParseAddrPort("192.0.2.1:4096")
	b.Run("Source+Mapped", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if teredo.Mapped(teredo.Source(packet)) != want {
				b.Fatal("another mapped address")
			}
		}
	})
	b.Run("Destination+IsTeredo", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if teredo.IsTeredo(teredo.Destination(packet)) {
				b.Fatal("a native address is taken for a Teredo address")
			}
		}
	})
}

func BenchmarkGlobal(b *testing.B) {
	f := teredo.Filter{Broadcasts: []netip.Addr{netip.MustParseAddr("8.8.8.255"), netip.MustParseAddr("8.8.9.255")}}
	ip := netip.MustParseAddr("8.8.8.8")
	b.ReportAllocs()
	for b.Loop() {
		if !f.Global(ip) {
			b.Fatal("not global")
		}
	}
}

func BenchmarkParseEcho(b *testing.B) {
	for name, size := range map[string]int{"56": 56, "1232": 1232} {
		packet := teredo.AppendEchoRequest(nil, clientA, native, 1, 2, make([]byte, size))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(packet)))
			for b.Loop() {
				if _, err := teredo.ParseEcho(packet); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseRouterSolicitation(b *testing.B) {
	packet := vector(b, "rs")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := teredo.ParseRouterSolicitation(packet); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseRouterAdvertisement(b *testing.B) {
	packet := vector(b, "ra")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := teredo.ParseRouterAdvertisement(packet); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendRouterAdvertisement(b *testing.B) {
	buffer := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		teredo.AppendRouterAdvertisement(buffer, serverV4, clientLL)
	}
}

func BenchmarkAppendBubble(b *testing.B) {
	buffer := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		teredo.AppendBubble(buffer, clientA, clientB, 255)
	}
}

func BenchmarkNativePrefixes(b *testing.B) {
	server := teredo.ServerOf(clientA)
	prefix, err := teredo.NewNativePrefix(server, netip.MustParsePrefix("2001:db8:c::/64"))
	if err != nil {
		b.Fatal(err)
	}
	natives := teredo.NativePrefixes{prefix}
	packet := ipv6Packet(clientA, native, 17, 64, make([]byte, 1200))
	back := ipv6Packet(native, clientA, 17, 64, make([]byte, 1200))
	b.ReportAllocs()
	for b.Loop() {
		natives.Outward(packet)
		copy(back[24:40], packet[8:24])
		natives.Inward(back)
		copy(packet[8:24], back[24:40])
	}
}
