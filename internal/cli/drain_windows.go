package cli

import "os"

// heedDrainSignal does nothing: Windows has no such signal.
func heedDrainSignal(chan<- os.Signal) {}
