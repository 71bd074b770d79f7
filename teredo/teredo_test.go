package teredo_test

import (
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// The two clients of RFC 6081 Figure 2, and a native host.
var (
	clientA = netip.MustParseAddr("2001:0:cb00:7178:0:efff:3fff:fdfe") // 192.0.2.1:4096 of server 203.0.113.120
	clientB = netip.MustParseAddr("2001:0:c633:6476:0:dfff:3fff:fdf5") // 192.0.2.10:8192 of server 198.51.100.118
	native  = netip.MustParseAddr("2001:db8:6::1")
)

func TestConstants(t *testing.T) {
	for name, c := range map[string]struct{ got, want string }{
		"K-01 prefix":      {teredo.Prefix().String(), "2001::/32"},
		"K-02 port":        {strconv.Itoa(teredo.Port), "3544"},
		"K-03 discovery":   {teredo.DiscoveryAddr().String(), "224.0.0.253"},
		"W-DISC-01 nodes":  {teredo.AllNodes().String(), "ff02::1"},
		"W-RS-01 routers":  {teredo.AllRouters().String(), "ff02::2"},
		"all routers text": {teredo.AllRouters().StringExpanded(), "ff02:0000:0000:0000:0000:0000:0000:0002"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", name, c.got, c.want)
		}
	}
}

// vector reads a file of testdata/vectors.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", "vectors", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	return unhex(t, string(text))
}

// unhex decodes hexadecimal text with white space and # comments.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, f := range strings.Fields(line) {
			digits.WriteString(f)
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantBytes compares two byte strings.
func wantBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if string(got) != string(want) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, want)
	}
}

// ipv6Packet builds a packet by hand, apart from the code under test.
func ipv6Packet(src, dst netip.Addr, next, hops uint8, payload []byte) []byte {
	b := []byte{0x60, 0, 0, 0, byte(len(payload) >> 8), byte(len(payload)), next, hops}
	b = append(b, src.AsSlice()...)
	b = append(b, dst.AsSlice()...)
	return append(b, payload...)
}

// icmpPacket builds an ICMPv6 packet of at least 4 bytes of message and puts the checksum right.
func icmpPacket(src, dst netip.Addr, hops uint8, message []byte) []byte {
	b := ipv6Packet(src, dst, 58, hops, message)
	b[42], b[43] = 0, 0
	sum := referenceChecksum(b)
	b[42], b[43] = byte(sum>>8), byte(sum)
	return b
}

// referenceChecksum is the ICMPv6 checksum the slow way: 16 bits at a time, in a wide sum (RFC 1071, RFC 8200 §8.1).
func referenceChecksum(ipv6 []byte) uint16 {
	pseudo := append([]byte{}, ipv6[8:40]...)
	n := len(ipv6) - 40
	pseudo = append(pseudo, byte(n>>24), byte(n>>16), byte(n>>8), byte(n), 0, 0, 0, 58)
	pseudo = append(pseudo, ipv6[40:]...)
	if len(pseudo)%2 == 1 {
		pseudo = append(pseudo, 0)
	}
	var sum uint64
	for i := 0; i < len(pseudo); i += 2 {
		sum += uint64(pseudo[i])<<8 | uint64(pseudo[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// rewrite returns a copy of b with the bytes from offset on replaced.
func rewrite(b []byte, offset int, with ...byte) []byte {
	c := append([]byte{}, b...)
	copy(c[offset:], with)
	return c
}
