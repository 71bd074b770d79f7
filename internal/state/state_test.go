package state_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/teredo-suite/teredo/internal/state"
)

type thing struct{ A int }

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "thing.state")
	got := thing{1}
	if err := state.Load(path, &got); err != nil || got.A != 1 {
		t.Errorf("without a file: %+v, %v", got, err)
	}
	for n := range 3 {
		if err := state.Save(path, thing{n}); err != nil {
			t.Fatal(err)
		}
	}
	if err := state.Load(path, &got); err != nil || got.A != 2 {
		t.Errorf("loaded %+v, %v", got, err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("the folder has %v, %v", files, err)
	}
	for range 2 {
		if err := state.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

func TestUnusable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "thing.state")
	if err := os.WriteFile(path, []byte("{broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := state.Load(path, &thing{}); err == nil {
		t.Error("loaded a broken file")
	}
	if err := state.Save(filepath.Join(path, "below-a-file"), thing{}); err == nil {
		t.Error("saved below a file")
	}
}
