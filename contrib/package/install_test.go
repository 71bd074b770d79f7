package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// root is a root folder that shows this machine. Only what changes there is stored, in a folder of its own.
type root struct{ folder, changes string }

func newRoot(t *testing.T) root {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "installing packages takes root")
	}
	base := t.TempDir()
	if err := unix.Mount("tmpfs", base, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(base, unix.MNT_DETACH) })
	r := root{filepath.Join(base, "root"), filepath.Join(base, "changes")}
	for _, folder := range []string{r.folder, r.changes, filepath.Join(base, "work")} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := "lowerdir=/,upperdir=" + r.changes + ",workdir=" + filepath.Join(base, "work")
	if err := unix.Mount("overlay", r.folder, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(r.folder, unix.MNT_DETACH) })
	return r
}

// run runs a command in the root folder.
func (r root) run(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "chroot", append([]string{r.folder}, args...)...)
}

// write writes a file in the root folder.
func (r root) write(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(r.folder, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// left are the files that this machine does not have, without what package managers note for themselves.
func (r root) left(t *testing.T) (paths []string) {
	t.Helper()
	notes := []string{"/var/lib/dpkg", "/var/lib/rpm", "/var/lib/pacman", "/var/cache", "/var/log", "/run"}
	err := filepath.WalkDir(r.changes, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = strings.TrimPrefix(path, r.changes)
		if slices.Contains(notes, path) {
			return fs.SkipDir
		}
		if _, err := os.Lstat(path); os.IsNotExist(err) && path != "" && entry.Type()&fs.ModeCharDevice == 0 {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(paths, func(path string) bool {
		// useradd and its kin keep a copy.
		return slices.Contains([]string{"/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/.pwd.lock"}, path)
	})
}

// user reports whether there is the user of the client.
func (r root) user(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.folder, "etc/passwd"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), "\nteredo-client:")
}

// What a person or the running client writes.
const (
	written = "/etc/teredo/client.toml"
	saved   = "/var/lib/teredo-client/client.address"
)

func (r root) configure(t *testing.T) {
	t.Helper()
	r.write(t, written, "server = \"teredo.example.net\"\n")
	r.write(t, saved, "saved")
}

func (r root) checkLeft(t *testing.T, when string, want ...string) {
	t.Helper()
	if left := r.left(t); !slices.Equal(left, want) {
		t.Errorf("%s, there is %q; want %q", when, left, want)
	}
}

func TestDeb(t *testing.T) {
	tool(t, "dpkg")
	r := newRoot(t)
	var debs []string
	for _, name := range []string{common, "teredo-client"} {
		r.write(t, "/tmp/"+name+".deb", read(t, file(t, name+"_*.deb")))
		debs = append(debs, "/tmp/"+name+".deb")
	}
	install := append([]string{"dpkg", "--force-depends", "--install"}, debs...)
	r.run(t, install...)
	if !r.user(t) {
		t.Error("no user was made")
	}
	if out := r.run(t, "teredo-client", "version"); !strings.HasPrefix(out, "teredo-client ") {
		t.Error(out)
	}
	if out, _ := exec.Command("chroot", r.folder, "systemctl", "is-enabled", "teredo-client").CombinedOutput(); string(out) != "disabled\n" {
		t.Errorf("the unit is %s", out)
	}
	r.run(t, "systemd-analyze", "verify", "--man=no", "/usr/lib/systemd/system/teredo-client.service")
	if sample := read(t, filepath.Join(r.folder, "usr/share/teredo/client.toml")); sample != r.run(t, "cat", written+".sample") {
		t.Error("the sample in /etc/teredo is not that in /usr/share")
	}

	r.configure(t)
	r.run(t, "systemctl", "enable", "--quiet", "teredo-client")
	r.run(t, install...) // as an upgrade
	if out := r.run(t, "systemctl", "is-enabled", "teredo-client"); out != "enabled\n" {
		t.Errorf("after an upgrade the unit is %s", out)
	}
	if config := r.run(t, "cat", written); config != "server = \"teredo.example.net\"\n" {
		t.Errorf("after an upgrade the configuration is %q", config)
	}

	r.run(t, "rm", debs[0], debs[1])
	r.run(t, "dpkg", "--remove", "teredo-client", common)
	r.checkLeft(t, "removed", "/etc/teredo", written, "/var/lib/teredo-client", saved)
	r.run(t, "dpkg", "--purge", "teredo-client", common)
	r.checkLeft(t, "purged")
	if r.user(t) {
		t.Error("the user is left")
	}
}

func TestRPM(t *testing.T) {
	tool(t, "rpm")
	r := newRoot(t)
	rpm := func(args ...string) {
		t.Helper()
		run(t, "rpm", append([]string{"--root", r.folder, "--dbpath", "/var/lib/rpm"}, args...)...)
	}
	rpm("--initdb")
	packages := []string{file(t, common+"-*.rpm"), file(t, "teredo-client-*.rpm")}
	// This Debian has /bin/sh, but not from a package of rpm.
	install := append([]string{"--nodeps", "-i"}, packages...)
	rpm(install...)
	rpm("--verify", "--nodeps", common, "teredo-client")
	if !r.user(t) {
		t.Error("no user was made")
	}
	r.configure(t)
	rpm(append([]string{"--nodeps", "-U", "--force"}, packages...)...)
	if config := r.run(t, "cat", written); config != "server = \"teredo.example.net\"\n" {
		t.Errorf("after an upgrade the configuration is %q", config)
	}
	rpm("-e", "--nodeps", "teredo-client", common)
	r.checkLeft(t, "removed", "/etc/teredo", written)
}

func TestArch(t *testing.T) {
	tool(t, "pacman")
	r := newRoot(t)
	pacman := func(args ...string) string {
		t.Helper()
		return run(t, "pacman", append([]string{"--root", r.folder, "--noconfirm", "--hookdir", t.TempDir()}, args...)...)
	}
	if err := os.MkdirAll(filepath.Join(r.folder, "var/lib/pacman"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.run(t, "ln", "-sf", "bash", "/bin/sh") // as Arch has it
	install := []string{"-U", "--nodeps", file(t, common+"-*.zst"), file(t, "teredo-client-*.zst")}
	pacman(install...)
	if !r.user(t) {
		t.Error("no user was made")
	}
	if out := pacman("-Q", "teredo-client"); !strings.HasPrefix(out, "teredo-client "+strings.Replace(made.version, "-", "", 1)) {
		t.Errorf("%s is installed as %s", made.version, out)
	}
	if out := pacman("-Qkk", common, "teredo-client"); strings.Count(out, " 0 altered files") != 2 {
		t.Error(out)
	}
	r.configure(t)
	pacman(install...)
	pacman("-R", "teredo-client", common)
	r.checkLeft(t, "removed", "/etc/teredo", written)
}

// There is no apk here to install it.
func TestAPK(t *testing.T) {
	tool(t, "tar")
	out := run(t, "tar", "--warning=no-unknown-keyword", "-xzOf", file(t, "teredo-client_*.apk"), ".PKGINFO")
	for _, line := range []string{"pkgname = teredo-client", "arch = x86_64", "license = BSD-3-Clause", "depend = teredo-common"} {
		if !slices.Contains(strings.Split(out, "\n"), line) {
			t.Errorf("%s is missing in:\n%s", line, out)
		}
	}
	list := strings.Split(run(t, "tar", "--warning=no-unknown-keyword", "-tzf", file(t, "teredo-client_*.apk")), "\n")
	for _, member := range []string{".post-install", ".post-upgrade", ".pre-deinstall", ".post-deinstall", "etc/init.d/teredo-client", "usr/bin/teredo-client"} {
		if !slices.Contains(list, member) {
			t.Errorf("%s is missing in %q", member, list)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
