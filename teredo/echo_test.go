package teredo_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/teredo"
)

// W-ECHO-01
func TestEchoRequest(t *testing.T) {
	nonce := []byte("a nonce!")
	message := append([]byte{128, 0, 0, 0, 0x39, 0x77, 0xf1, 0xcf}, nonce...)
	want := icmpPacket(clientA, native, 255, message)
	got := teredo.AppendEchoRequest(nil, clientA, native, 0x3977, 0xf1cf, nonce)
	wantBytes(t, "request", got, want)

	e, err := teredo.ParseEcho(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(teredo.Echo{Type: 128, ID: 0x3977, Seq: 0xf1cf, Data: nonce}, e); diff != "" {
		t.Error(diff)
	}
	if !teredo.IsICMPv6Type(got, 128) || teredo.IsICMPv6Type(got, 129) {
		t.Error("IsICMPv6Type does not see an echo request")
	}
}

func TestEchoReply(t *testing.T) {
	request := teredo.AppendEchoRequest(nil, clientA, teredo.AllRouters(), 7, 9, []byte("nonce"))
	reply := teredo.AppendEchoReply([]byte("kept"), native, request)
	want := icmpPacket(native, clientA, 255, append([]byte{129, 0, 0, 0, 0, 7, 0, 9}, "nonce"...))
	wantBytes(t, "reply", reply, append([]byte("kept"), want...))

	for name, no := range map[string][]byte{
		"a reply":        want,
		"a bad checksum": rewrite(request, 48, 'N'),
		"a bubble":       ipv6Packet(clientA, native, 59, 255, nil),
		"nothing":        nil,
	} {
		if b := teredo.AppendEchoReply(nil, native, no); b != nil {
			t.Errorf("%s is answered with %x", name, b)
		}
	}
}

func TestParseEchoRefuses(t *testing.T) {
	good := icmpPacket(clientA, native, 64, []byte{129, 0, 0, 0, 1, 2, 3, 4, 5})
	if _, err := teredo.ParseEcho(good); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		ipv6 []byte
		want error
	}{
		{"header cut short", good[:39], teredo.ErrIPv6Header},
		{"message cut short", good[:len(good)-1], teredo.ErrIPv6Length},
		{"UDP", rewrite(good, 6, 17), teredo.ErrNotICMPv6},
		{"7 bytes", icmpPacket(clientA, native, 64, []byte{129, 0, 0, 0, 1, 2, 3}), teredo.ErrICMPv6Short},
		{"code 1", icmpPacket(clientA, native, 64, []byte{129, 1, 0, 0, 1, 2, 3, 4}), teredo.ErrICMPv6Code},
		{"type 130", icmpPacket(clientA, native, 64, []byte{130, 0, 0, 0, 1, 2, 3, 4}), teredo.ErrICMPv6Type},
		{"checksum", rewrite(good, 48, 6), teredo.ErrICMPv6Checksum},
		{"checksum of other addresses", rewrite(good, 23, 99), teredo.ErrICMPv6Checksum},
		{"checksum zero", rewrite(good, 42, 0, 0), teredo.ErrICMPv6Checksum},
	} {
		if _, err := teredo.ParseEcho(c.ipv6); !errors.Is(err, c.want) {
			t.Errorf("%s: got error %v, want %v", c.name, err, c.want)
		}
	}
}

// The fast sum agrees with the slow one at every length, and on data made to carry.
func TestChecksum(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(random.Uint32()) | 0xf0
		}
		packet := teredo.AppendEchoRequest(nil, clientA, native, 0xffff, uint16(n), data)
		wantBytes(t, "request", packet, icmpPacket(clientA, native, 255, packet[40:]))
		if _, err := teredo.ParseEcho(packet); err != nil {
			t.Errorf("%d bytes of data: %v", n, err)
		}
		broken := rewrite(packet, 0)
		broken[40+random.IntN(len(packet)-40)] ^= 1 << random.IntN(8)
		if _, err := teredo.ParseEcho(broken); err == nil {
			t.Errorf("%d bytes of data: a flipped bit goes unnoticed", n)
		}
	}
}

// A correct checksum may be zero, and is then sent as zero: only UDP forbids that.
func TestChecksumZero(t *testing.T) {
	packet := teredo.AppendEchoRequest(nil, clientA, native, 1, 1, []byte{0, 0})
	packet = teredo.AppendEchoRequest(nil, clientA, native, 1, 1, packet[42:44])
	if packet[42] != 0 || packet[43] != 0 {
		t.Fatalf("checksum %x", packet[42:44])
	}
	if _, err := teredo.ParseEcho(packet); err != nil {
		t.Error(err)
	}
}
