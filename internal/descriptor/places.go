package descriptor

import "sync/atomic"

// places is how many more goroutines may wait in a place. The state is the process's, as GOMAXPROCS is.
var places atomic.Int32

// AddPlaces tells that GOMAXPROCS was raised by n. So many goroutines may keep one of the runtime's processors while they wait
// for input, and the others still have as many as before. Without places, none does.
func AddPlaces(n int) { places.Add(int32(n)) }
