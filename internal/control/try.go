package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Try reports what would keep Listen from making the socket at path while nobody answers there. It leaves nothing behind.
func Try(path string) error {
	if len(path) > maxPath {
		return wrongSocket("control socket path %s has %d bytes and can have %d at most", path, len(path), maxPath)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != socketType {
		return wrongSocket("%s exists and is not a socket", path)
	}
	return TryFolder(filepath.Dir(path))
}

// TryFolder reports what keeps this process from creating files in a folder, which need not exist yet.
func TryFolder(folder string) error {
	at := filepath.Clean(folder)
	for {
		file, err := os.CreateTemp(at, ".teredo-check-")
		switch parent := filepath.Dir(at); {
		case err == nil:
			return errors.Join(file.Close(), os.Remove(file.Name()))
		case errors.Is(err, fs.ErrNotExist) && parent != at:
			at = parent
		case errors.Is(err, fs.ErrPermission):
			return wrongSocket("no permission to create files in %s: run as root", at)
		default:
			return fmt.Errorf("cannot create files in %s: %w", at, cause(err))
		}
	}
}
