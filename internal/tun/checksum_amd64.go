package tun

import "golang.org/x/sys/cpu"

// sumVectors adds the head of b, in steps of 64 bytes, where the processor has AVX2. It returns the sum and the rest of b.
func sumVectors(b []byte) (acc uint64, rest []byte) {
	n := len(b) &^ 63
	if n == 0 || !cpu.X86.HasAVX2 {
		return 0, b
	}
	return sumBlocks(b[:n]), b[n:]
}

// sumBlocks adds the 32-bit words of b, whose length is a multiple of 64 bytes and not 0.
//
//go:noescape
func sumBlocks(b []byte) uint64
