//go:build linux

package lab

import (
	"fmt"
	"os"
	"os/exec"
)

// BuildPrograms builds the programs of this module into a folder. The working directory must be inside the module.
func BuildPrograms(folder string) error {
	// The trailing slash makes the go command put every program in the folder.
	cmd := exec.Command("go", "build", "-o", folder+"/", "github.com/teredo-suite/teredo/cmd/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as they are shipped
	if err := feed(cmd, ""); err != nil {
		return fmt.Errorf("build the programs: %w", err)
	}
	return nil
}
