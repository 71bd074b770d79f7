// Package descriptor waits for input on file descriptors, either in the runtime's poller or in a thread of its own.
//
// The runtime's poller wakes up one thread, which makes a goroutine runnable, which wakes up another thread to look for more work.
// A single packet is delayed by all of that. A thread that waits in poll(2) for one descriptor is woken up directly, but each
// goroutine that waits so needs a thread.
package descriptor
