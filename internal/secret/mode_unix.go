//go:build unix

package secret

import (
	"fmt"
	"io/fs"
	"os"
)

// openToOthers says what gives others than the owner of a file access to it, if anything does, and the command that takes it away.
func openToOthers(f *os.File, info fs.FileInfo) (open, mend string) {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Sprintf("mode %04o", mode), "chmod 600 " + f.Name()
	}
	return "", ""
}
