//go:build linux

package many

import (
	"os/exec"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestFRR has FRR check its configuration, without running it.
func TestFRR(t *testing.T) {
	lab.Need(t)
	if out, err := exec.Command("vtysh", "-C", "-f", "../../contrib/frr/site.conf").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
