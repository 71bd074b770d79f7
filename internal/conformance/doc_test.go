// Package conformance checks what no package can check by itself: that docs/conformance.md is true, that the code keeps to
// the architecture, and that the documentation knows what the code says. It has tests only.
package conformance

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the folder of the module.
const root = "../.."

// read returns the text of a file of the module.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// find returns the names of all files of the module that end in one of the suffixes, with slashes and without root.
// Folders that no part of the module lies in are left out.
func find(t *testing.T, suffixes ...string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() && path != root && (base == "bin" || base == "testdata" || strings.HasPrefix(base, ".")) {
			return filepath.SkipDir
		}
		for _, suffix := range suffixes {
			if !entry.IsDir() && strings.HasSuffix(base, suffix) {
				name, err := filepath.Rel(root, path)
				if err != nil {
					return err
				}
				names = append(names, filepath.ToSlash(name))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
