package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The client for routers, built without what these do not need, stays within its bound. docs/openwrt.md has the figures.
func TestSmallBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the client for another processor")
	}
	const most = 17 << 20 // bytes; it has 15.4 MiB, and the full one 18.1 MiB
	file := filepath.Join(t.TempDir(), "teredo-client")
	build := exec.Command("go", "build", "-tags", "small", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", file, "./cmd/teredo-client")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=mipsle", "GOMIPS=softfloat")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if info.Size() > most {
		t.Errorf("it has %d bytes, more than %d", info.Size(), most)
	}
}
