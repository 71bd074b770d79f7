package cli

import "testing"

// The kernel carries as many flows as the memory of the host allows.
func TestKernelFlows(t *testing.T) {
	for _, tt := range []struct {
		available uint64
		want      int
	}{{0, 4096}, {64 << 20, 4096}, {512 << 20, 26_214}, {1 << 30, 52_428}, {16 << 30, 131_072}, {1 << 50, 131_072}} {
		if got := kernelFlows(tt.available); got != tt.want {
			t.Errorf("%d MiB: %d flows, want %d", tt.available>>20, got, tt.want)
		}
	}
}
