//go:build !windows

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// heedDrainSignal has the channel told when the program is to drain.
func heedDrainSignal(asked chan<- os.Signal) { signal.Notify(asked, syscall.SIGUSR1) }
