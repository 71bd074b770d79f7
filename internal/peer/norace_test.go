//go:build !race

package peer_test

// slowdown is by how much the tests that run for long in one goroutine are shortened.
const slowdown = 1
