package relay

import "testing"

// ST-C-06: the capacity follows from the memory, within bounds.
func TestDefaultCapacity(t *testing.T) {
	for available, want := range map[uint64]int{0: 4096, 1 << 20: 4096, 64 << 20: 1 << 15, 1 << 30: 1 << 19, 1 << 40: 1 << 20} {
		if got := defaultCapacity(available); got != want {
			t.Errorf("%d bytes: %d clients, want %d", available, got, want)
		}
	}
}
