package teredo_test

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

var router = netip.MustParseAddr("2001:db8::53")

func TestAppendUnreachable(t *testing.T) {
	invoking := ipv6Packet(native, clientA, 17, 64, []byte("UDP header and data"))
	got := teredo.AppendUnreachable(nil, router, teredo.UnreachableAddress, invoking)
	want := icmpPacket(router, native, 255, append([]byte{1, 3, 0, 0, 0, 0, 0, 0}, invoking...))
	wantBytes(t, "error", got, want)
}

// RFC 4443 §2.4(c): as much of the invoking packet as fits without the error exceeding the minimum IPv6 MTU.
func TestUnreachableSize(t *testing.T) {
	for payload, want := range map[int]int{0: 88, 1191: 1279, 1192: 1280, 1193: 1280, 65535: 1280} {
		invoking := ipv6Packet(native, clientA, 6, 64, make([]byte, payload))
		got := teredo.AppendUnreachable(nil, router, 0, invoking)
		if len(got) != want {
			t.Errorf("%d bytes of payload give an error of %d bytes, want %d", payload, len(got), want)
		}
		if err := teredo.CheckIPv6(got); err != nil {
			t.Error(err)
		}
		wantBytes(t, "error", got, icmpPacket(router, native, 255, got[40:]))
	}
}

// RFC 4443 §2.4(e)
func TestUnreachableForbidden(t *testing.T) {
	hopByHop := func(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
	fragment := func(next byte, offset byte) []byte { return []byte{next, 0, 0, offset << 3, 0, 0, 0, 1} }
	authentication := func(next byte) []byte { return append([]byte{next, 4}, make([]byte, 22)...) }
	packet := func(next byte, parts ...[]byte) []byte {
		var payload []byte
		for _, p := range parts {
			payload = append(payload, p...)
		}
		return ipv6Packet(native, clientA, next, 64, payload)
	}
	echo := []byte{128, 0, 0, 0, 0, 0, 0, 0}
	tooBig := []byte{2, 0, 0, 0, 0, 0, 5, 0}
	redirect := []byte{137, 0, 0, 0, 0, 0, 0, 0}

	for _, c := range []struct {
		name     string
		invoking []byte
		allowed  bool
	}{
		{"UDP", packet(17, make([]byte, 8)), true},
		{"bubble", packet(59), true},
		{"echo request", packet(58, echo), true},
		{"echo behind options", packet(0, hopByHop(60), hopByHop(58), echo), true},
		{"echo behind one options header", packet(0, hopByHop(58), echo), true},
		{"echo behind an options header of 16 bytes", packet(0, []byte{58, 1}, make([]byte, 14), echo), true},
		{"echo behind authentication", packet(51, authentication(58), echo), true},
		{"echo of one byte", packet(58, echo[:1]), true},
		{"first fragment of an echo", packet(44, fragment(58, 0), echo), true},
		{"later fragment of UDP", packet(44, fragment(17, 1), make([]byte, 8)), true},
		{"UDP behind authentication", packet(51, authentication(17), make([]byte, 8)), true},
		{"extension header cut short", packet(0, []byte{58, 9, 0, 0, 0, 0, 0, 0}), false},
		{"unknown upper layer behind a cut extension header", packet(0, []byte{17, 9, 0, 0, 0, 0, 0, 0}), true},

		{"e.1 error", packet(58, tooBig), false},
		{"e.1 error of an unknown type", packet(58, []byte{100, 0, 0, 0}), false},
		{"e.1 error of one byte", packet(58, []byte{1}), false},
		{"e.1 error behind options", packet(0, hopByHop(58), tooBig), false},
		{"e.1 error behind routing", packet(43, hopByHop(58), tooBig), false},
		{"e.1 error behind authentication", packet(51, authentication(58), tooBig), false},
		{"e.1 error behind three headers", packet(0, hopByHop(60), hopByHop(44), fragment(58, 0), tooBig), false},
		{"e.1 ICMPv6 without a type", packet(58), false},
		{"e.1 later fragment of ICMPv6", packet(44, fragment(58, 1), echo), false},
		{"e.2 redirect", packet(58, redirect), false},
		{"e.3 multicast destination", ipv6Packet(native, teredo.AllNodes(), 17, 64, make([]byte, 8)), false},
		{"e.6 unspecified source", ipv6Packet(netip.IPv6Unspecified(), clientA, 17, 64, make([]byte, 8)), false},
		{"e.6 multicast source", ipv6Packet(teredo.AllNodes(), clientA, 17, 64, make([]byte, 8)), false},
		{"header cut short", packet(17)[:39], false},
		{"IPv4", rewrite(packet(17, make([]byte, 8)), 0, 0x45), false},
		{"empty", nil, false},
	} {
		got := teredo.AppendUnreachable([]byte("kept"), router, 0, c.invoking)
		if string(got[:4]) != "kept" {
			t.Errorf("%s: what was in the buffer is gone", c.name)
		}
		if sent := len(got) > 4; sent != c.allowed {
			t.Errorf("%s: error sent: %v, want %v", c.name, sent, c.allowed)
		}
	}
}

// An error never calls for another error.
func TestUnreachableAboutItself(t *testing.T) {
	first := teredo.AppendUnreachable(nil, router, 0, ipv6Packet(native, clientA, 17, 64, make([]byte, 8)))
	if second := teredo.AppendUnreachable(nil, router, 0, first); second != nil {
		t.Errorf("got %x", second)
	}
}

func TestParseICMPv6Error(t *testing.T) {
	invoking := ipv6Packet(native, clientA, 17, 64, []byte("UDP header and data"))
	message := append([]byte{1, 4, 0, 0, 0, 0, 0, 0}, invoking...)
	e, err := teredo.ParseICMPv6Error(icmpPacket(router, native, 64, message))
	if err != nil || e.Type != 1 || e.Code != 4 {
		t.Errorf("%+v, %v", e, err)
	}
	wantBytes(t, "what it quotes", e.Invoking, invoking)
	for _, c := range []struct {
		name   string
		packet []byte
		want   error
	}{
		{"quotes nothing", icmpPacket(router, native, 64, message[:8]), nil},
		{"the last error", icmpPacket(router, native, 64, append([]byte{127}, message[1:]...)), nil},
		{"no error", icmpPacket(router, native, 64, append([]byte{128}, message[1:]...)), teredo.ErrICMPv6Type},
		{"short", icmpPacket(router, native, 64, message[:7]), teredo.ErrICMPv6Short},
		{"checksum", rewrite(icmpPacket(router, native, 64, message), 42, 0), teredo.ErrICMPv6Checksum},
		{"UDP", invoking, teredo.ErrNotICMPv6},
		{"cut", icmpPacket(router, native, 64, message)[:60], teredo.ErrIPv6Length},
		{"empty", nil, teredo.ErrIPv6Header},
	} {
		if _, err := teredo.ParseICMPv6Error(c.packet); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}
