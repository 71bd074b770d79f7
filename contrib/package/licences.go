package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// modules are those that a program contains, on any of these platforms, by their paths.
func (r *release) modules(program string, platforms []string) (map[string]*debug.Module, error) {
	all := make(map[string]*debug.Module)
	for _, platform := range platforms {
		info, err := buildinfo.ReadFile(r.binary(platform, program))
		if err != nil {
			return nil, err
		}
		for _, dep := range info.Deps {
			all[dep.Path] = dep
		}
	}
	return all, nil
}

// binary is the program built for a platform.
func (r *release) binary(platform, program string) string {
	path := filepath.Join(r.work, r.folder(platform), program)
	if strings.HasPrefix(platform, "windows/") {
		path += ".exe"
	}
	return path
}

// writeLicences writes the licence of a program, and those of Go and of the modules inside, which ask for that.
func (r *release) writeLicences(program string, platforms []string) error {
	modules, err := r.modules(program, platforms)
	if err != nil {
		return err
	}
	own, err := os.ReadFile(filepath.Join(r.source, "LICENSE"))
	if err != nil {
		return err
	}
	root, err := r.run(nil, "go", "env", "GOROOT")
	if err != nil {
		return err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s is part of the Teredo suite, %s\n\n%s", program, homepage, own)
	about := out.String()
	if err := appendLicences(&out, "the Go standard library", strings.TrimSpace(string(root))); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		folder, err := r.run(nil, "go", "list", "-m", "-f", "{{.Dir}}", path)
		if err != nil {
			return err
		}
		if err := appendLicences(&out, path+" "+modules[path].Version, strings.TrimSpace(string(folder))); err != nil {
			return err
		}
	}
	if err := r.write(program+".licences", out.Bytes()); err != nil {
		return err
	}
	if err := r.write(program+".licences.gz", compressed(out.Bytes())); err != nil {
		return err
	}
	about += "\nThe licences of the modules that it contains are in licences.gz, in this folder.\n"
	return r.write(program+".copyright", []byte(about))
}

// appendLicences writes the licence files of a part that is in this folder.
func appendLicences(out *bytes.Buffer, part, folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	found := false
	for _, entry := range entries {
		name := strings.ToUpper(entry.Name())
		if !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") && !strings.HasPrefix(name, "NOTICE") || entry.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return err
		}
		found = true
		fmt.Fprintf(out, "\n%s\nThis program contains %s (%s):\n\n%s\n", strings.Repeat("-", 72), part, entry.Name(), bytes.TrimSpace(text))
	}
	if !found {
		return fmt.Errorf("%s has no licence file in %s", part, folder)
	}
	return nil
}
