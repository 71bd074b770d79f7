// Package leak fails the tests of a package when they leave goroutines behind.
package leak

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// VerifyTestMain runs the tests, and fails when goroutines are left. It is for packages with fuzz targets: with -fuzz it does not
// look, because the fuzzing worker itself leaves a goroutine when it ends.
func VerifyTestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}
