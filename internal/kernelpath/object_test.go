package kernelpath

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// The objects in the tree are those of the sources: "make generate" writes both.
func TestObjectIsCurrent(t *testing.T) {
	for _, name := range []string{"path.c", "server.c"} {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		made, err := os.ReadFile(name + ".sum")
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(source)
		if was, _, _ := strings.Cut(string(made), " "); was != hex.EncodeToString(sum[:]) {
			t.Errorf("%s has changed since it was compiled: run make generate", name)
		}
	}
}
