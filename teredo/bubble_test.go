package teredo_test

import (
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// W-BUB-01, W-TRL-01
func TestBubbleVector(t *testing.T) {
	want := vector(t, "bubble-nonce")
	got := teredo.AppendBubble(nil, clientA, clientB, 255)
	if !teredo.IsBubble(got) {
		t.Error("a bubble is not taken for one")
	}
	wantBytes(t, "bubble with nonce", teredo.AppendNonceTrailer(got, [4]byte{0xde, 0xad, 0xbe, 0xef}), want)

	var p teredo.Packet
	if err := p.Parse(want); err != nil {
		t.Fatal(err)
	}
	if !teredo.IsBubble(p.IPv6) || len(p.Trailers) != 6 {
		t.Errorf("got %+v", p)
	}
}

// W-DISC-01
func TestDiscoveryBubble(t *testing.T) {
	b := teredo.AppendBubble(nil, clientA, teredo.AllNodes(), 1)
	wantBytes(t, "discovery bubble", b, ipv6Packet(clientA, teredo.AllNodes(), 59, 1, nil))
}

func TestIsBubble(t *testing.T) {
	bubble := ipv6Packet(clientA, clientB, 59, 0, nil)
	for _, c := range []struct {
		name string
		ipv6 []byte
		want bool
	}{
		{"bubble", bubble, true},
		{"with payload", ipv6Packet(clientA, clientB, 59, 255, []byte{0}), false},
		{"with 256 bytes of payload", ipv6Packet(clientA, clientB, 59, 255, make([]byte, 256)), false},
		{"ICMPv6 without message", ipv6Packet(clientA, clientB, 58, 255, nil), false},
		{"cut short", bubble[:39], false},
		{"empty", nil, false},
	} {
		if got := teredo.IsBubble(c.ipv6); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}
