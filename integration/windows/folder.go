//go:build linux

// Package windows has the tests of the programs for Windows. They run in Wine, which comes from a folder with Debian 13: the Wine
// of earlier releases lacks bcryptprimitives.dll, without which no program in Go starts.
package windows

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	release     = "trixie"
	mirror      = "http://deb.debian.org/debian"
	makeTimeout = 20 * time.Minute
)

// folder returns the folder with Wine. It is made when it is missing, which takes minutes, and stays for the next time.
func folder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "teredo-test")
	path := filepath.Join(cache, "wine-"+release)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(cache, "wine-"+release+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := os.Chmod(fresh, 0o755); err != nil {
		return "", err
	}
	fmt.Fprintln(os.Stderr, "making", path, "with Wine of Debian", release, "(takes a few minutes)")
	ctx, cancel := context.WithTimeout(context.Background(), makeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--quiet", "--variant=essential", "--include=wine64",
		`--aptopt=APT::Install-Recommends "false"`,
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		release, fresh, mirror)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make the folder with Wine: %w: %s", err, out)
	}
	if err := os.Rename(fresh, path); err != nil {
		if _, made := os.Stat(path); made != nil { // another test has made it meanwhile
			return "", err
		}
	}
	return path, nil
}

// enter mounts what Wine needs below the folder, in the mount namespace of this process: what is written there is gone with it. The
// folder bin is /mnt there.
func enter(folder, bin string) error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"proc", "proc", "proc", 0},
		{"/dev", "dev", "", unix.MS_BIND | unix.MS_REC},
		{"tmpfs", "tmp", "tmpfs", 0},
		{bin, "mnt", "", unix.MS_BIND},
	} {
		if err := unix.Mount(m.source, filepath.Join(folder, m.target), m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s over %s/%s: %w", m.source, folder, m.target, err)
		}
	}
	return nil
}

// wine is the command line of a program in the folder, at a home of its own: programs of one home must be on one host.
func wine(folder, home string, argv ...string) []string {
	return append([]string{"chroot", folder, "/usr/bin/env", "--ignore-environment", "HOME=/tmp/" + home, "WINEPREFIX=/tmp/" + home, "XDG_RUNTIME_DIR=/tmp",
		"WINEDEBUG=-all", "PATH=/usr/lib/wine:/usr/bin", "/usr/lib/wine/wine64"}, argv...)
}
