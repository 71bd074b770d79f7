package kernelpath

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// The object in the tree is that of the source: "make generate" writes both.
func TestObjectIsCurrent(t *testing.T) {
	source, err := os.ReadFile("path.c")
	if err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile("path.c.sum")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(source)
	if was, _, _ := strings.Cut(string(made), " "); was != hex.EncodeToString(sum[:]) {
		t.Error("path.c has changed since it was compiled: run make generate")
	}
}
