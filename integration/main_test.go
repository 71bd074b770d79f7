//go:build linux

// Package integration tests the three programs on the real kernel: network namespaces, TUN devices, connection
// tracking, and Miredo as the other implementation.
package integration

import (
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// program returns the path of one of our programs.
func program(role string) string { return lab.Program(role) }
