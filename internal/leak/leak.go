// Package leak ends the tests of a package with a look for goroutines that they have left behind.
package leak

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// VerifyTestMain runs the tests, and fails when goroutines of theirs are left. It is for packages with fuzz targets: under
// -fuzz it does not look, because the fuzzer's worker leaves a goroutine of its own in a read when it is told to end.
func VerifyTestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}
