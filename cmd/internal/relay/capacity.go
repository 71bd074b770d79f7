package relay

import (
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/teredo-suite/teredo/internal/memory"
	"github.com/teredo-suite/teredo/internal/peer"
)

const (
	leastCapacity = 1 << 12
	// memoryPerClient is how much memory the host must have for each client of the default capacity. A client takes 512 bytes at most,
	// so all take a quarter; another is for what the garbage collector has not collected yet.
	memoryPerClient = 2048
)

func checkCapacity(n int) error {
	if n < leastCapacity || n > peer.MostClients {
		return fmt.Errorf("a capacity of %d clients is not possible: choose one from %d to %d, or leave it out", n, leastCapacity, peer.MostClients)
	}
	return nil
}

// leastLimit is what the program needs without any clients, and some more.
const leastLimit = 32 << 20

// bound finds the capacity where none is given, and has the garbage collector hold the program to half of the memory that there is.
// What an administrator has set with GOMEMLIMIT counts more.
func (f *Flags) bound(log *slog.Logger) (capacity int) {
	available, err := memory.Available()
	if err != nil {
		log.Warn("cannot find out the available memory; the relay remembers few clients unless --capacity says otherwise", "error", err)
	} else if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(max(int64(available/2), leastLimit))
	}
	if f.Capacity != 0 {
		return f.Capacity
	}
	return defaultCapacity(available)
}

func defaultCapacity(available uint64) int {
	return int(min(max(available/memoryPerClient, leastCapacity), peer.MostClients))
}
