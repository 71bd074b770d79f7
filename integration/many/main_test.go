//go:build linux

// Package many tests a public service of several machines: two sites with anycast servers, three relays that share 2001::/32, a
// router that learns of them by BGP from BIRD, native hosts, and clients of ours and of Miredo behind NATs.
package many

import (
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }
