package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// archive makes the archive of a platform: zip for Windows, tar.gz for others.
func (r *release) archive(platform string) error {
	name := fmt.Sprintf("teredo-%s-%s", r.version, r.folder(platform))
	var file string
	var write func(io.Writer, string, []member) error
	if strings.HasPrefix(platform, "windows/") {
		file, write = name+".zip", r.zip
	} else {
		file, write = name+".tar.gz", r.tar
	}
	to, err := os.Create(filepath.Join(r.out, file))
	if err != nil {
		return err
	}
	return errors.Join(write(to, name, r.members(platform)), to.Close())
}

// member is a file of an archive.
type member struct {
	name   string
	source string
	mode   int64
}

func (r *release) members(platform string) (all []member) {
	for _, program := range programs {
		binary := r.binary(platform, program)
		all = append(all, member{filepath.Base(binary), binary, 0o755})
		for suffix, name := range map[string]string{
			".8": "man/" + program + ".8", ".licences": "licences/" + program, ".toml": "sample/" + role(program) + ".toml",
			".bash": "completions/" + program + ".bash", ".zsh": "completions/_" + program, ".fish": "completions/" + program + ".fish",
		} {
			all = append(all, member{name, filepath.Join(r.work, program+suffix), 0o644})
		}
	}
	sources := []string{"README.md", "CHANGELOG.md", "LICENSE"}
	if strings.HasPrefix(platform, "linux/") {
		sources = append(sources, "contrib/systemd/teredo.sysusers", "contrib/systemd/teredo-server-relay.conf",
			"contrib/NetworkManager/90-teredo.conf", "contrib/openrc/teredo")
		for _, program := range programs {
			sources = append(sources, "contrib/systemd/"+program+".service")
		}
	}
	for _, source := range sources {
		all = append(all, member{source, filepath.Join(r.source, source), 0o644})
	}
	slices.SortFunc(all, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return all
}

func (r *release) tar(to io.Writer, folder string, members []member) error {
	compressor := gzip.NewWriter(to)
	out := tar.NewWriter(compressor)
	for _, m := range members {
		text, err := os.ReadFile(m.source)
		if err != nil {
			return err
		}
		header := tar.Header{Name: folder + "/" + m.name, Mode: m.mode, Size: int64(len(text)), ModTime: r.time, Format: tar.FormatPAX}
		if err := out.WriteHeader(&header); err != nil {
			return err
		}
		if _, err := out.Write(text); err != nil {
			return err
		}
	}
	return errors.Join(out.Close(), compressor.Close())
}

func (r *release) zip(to io.Writer, folder string, members []member) error {
	out := zip.NewWriter(to)
	for _, m := range members {
		text, err := os.ReadFile(m.source)
		if err != nil {
			return err
		}
		header := zip.FileHeader{Name: folder + "/" + m.name, Method: zip.Deflate, Modified: r.time}
		header.SetMode(os.FileMode(m.mode))
		w, err := out.CreateHeader(&header)
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return out.Close()
}

// writeSums writes SHA256SUMS, which sha256sum -c reads.
func (r *release) writeSums() error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(r.out, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(text), entry.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}
