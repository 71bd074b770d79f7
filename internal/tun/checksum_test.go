package tun

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// reference is RFC 1071 word by word.
func reference(b []byte, acc uint32) uint16 {
	for i := range b {
		v := uint32(b[i])
		if i%2 == 0 {
			v <<= 8
		}
		acc += v
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}

func TestSum(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 1500)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	for _, fill := range []func(byte) byte{
		func(v byte) byte { return v },
		func(byte) byte { return 0xff },
		func(byte) byte { return 0 },
	} {
		for i := range b {
			b[i] = fill(b[i])
		}
		for n := range len(b) {
			start := random.IntN(len(b) - n)
			p := b[start : start+n]
			if got, want := fold(sumWord(0x1234, sum(p, 0))), reference(p, 0x1234); got != want {
				t.Fatalf("sum of %d bytes is %#04x, want %#04x", n, got, want)
			}
			if got, want := fold(sumWords(p, 0)), reference(p, 0); got != want {
				t.Fatalf("sum of %d bytes without vectors is %#04x, want %#04x", n, got, want)
			}
			if even := n / 2 &^ 1; fold(sum(p[even:], sum(p[:even], 0))) != reference(p, 0) {
				t.Fatalf("sum of %d bytes in two parts is wrong", n)
			}
		}
	}
}

// The example of RFC 1071 §3.
func TestSumExample(t *testing.T) {
	b := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := fold(sum(b, 0)); got != 0xddf2 {
		t.Errorf("sum %#04x, want 0xddf2", got)
	}
}

// checksum is the right value of the checksum field of a TCP or UDP packet.
func checksum(packet []byte, at int) uint16 {
	p := append([]byte(nil), packet...)
	field := p[teredo.HeaderLen+at:]
	field[0], field[1] = 0, 0
	pseudo := append([]byte(nil), p[8:teredo.HeaderLen]...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(p)-teredo.HeaderLen))
	pseudo = append(pseudo, 0, 0, 0, p[6])
	c := ^reference(append(pseudo, p[teredo.HeaderLen:]...), 0)
	if c == 0 && p[6] == protocolUDP {
		c = 0xffff
	}
	return c
}
