package main

import (
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

// variants are settings of the go command for processors of which there are several kinds: the oldest that Linux distributions and
// routers have.
var variants = map[string]string{"arm": "GOARM=6", "mipsle": "GOMIPS=softfloat", "mips": "GOMIPS=softfloat"}

// prepare builds the programs for each platform, and what they say of themselves.
func (r *release) prepare(platforms []string) (err error) {
	for _, folder := range []*string{&r.source, &r.out} {
		if *folder, err = filepath.Abs(*folder); err != nil {
			return err
		}
	}
	r.work = filepath.Join(r.out, "build")
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	r.host = runtime.GOOS + "/" + runtime.GOARCH
	for _, platform := range slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(platforms), r.host)))) {
		if err := r.build(platform); err != nil {
			return err
		}
	}
	if err := r.readBuilt(); err != nil {
		return err
	}
	for _, program := range programs {
		if err := r.document(program); err != nil {
			return err
		}
		if err := r.writeLicences(program, platforms); err != nil {
			return err
		}
	}
	return errors.Join(r.writeScripts(), r.writeDebianChangelog())
}

// folder is that of a platform's programs, below the working folder.
func (r *release) folder(platform string) string { return strings.ReplaceAll(platform, "/", "-") }

// build builds the programs for a platform.
func (r *release) build(platform string) error {
	system, processor, _ := strings.Cut(platform, "/")
	flags := []string{"build", "-trimpath", "-ldflags=-s -w"}
	if version := os.Getenv("VERSION"); version != "" {
		flags[2] += " -X github.com/teredo-suite/teredo/internal/cli.version=" + version
	}
	if _, err := r.run(nil, "git", "rev-parse", "--verify", "HEAD"); err == nil {
		flags = append(flags, "-buildvcs=true")
	} else {
		flags = append(flags, "-buildvcs=false")
	}
	flags = append(flags, "-o", filepath.Join(r.work, r.folder(platform))+string(filepath.Separator), "./cmd/...")
	_, err := r.run([]string{"GOOS=" + system, "GOARCH=" + processor, variants[processor]}, "go", flags...)
	return err
}

// run runs a command in the folder of the sources and returns its output.
func (r *release) run(environment []string, name string, args ...string) ([]byte, error) {
	command := exec.Command(name, args...)
	command.Dir = r.source
	command.Env = append(append(os.Environ(), "CGO_ENABLED=0"), environment...)
	var faults bytes.Buffer
	command.Stderr = &faults
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, faults.Bytes())
	}
	return out, nil
}

// readBuilt finds out version and time. What the environment says comes first, then what git and the go command know. The go
// command knows no version in a linked worktree of git.
func (r *release) readBuilt() error {
	seconds := os.Getenv("SOURCE_DATE_EPOCH")
	if seconds == "" {
		commit, err := r.run(nil, "git", "show", "-s", "--format=%ct", "HEAD")
		if err != nil {
			return fmt.Errorf("set VERSION and SOURCE_DATE_EPOCH where there is no git: %w", err)
		}
		seconds = strings.TrimSpace(string(commit))
	}
	since, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH is not a number of seconds: %w", err)
	}
	r.time = time.Unix(since, 0).UTC()
	info, err := buildinfo.ReadFile(r.binary(r.host, programs[0]))
	if err != nil {
		return err
	}
	named := os.Getenv("VERSION")
	if named == "" {
		named, _, _ = strings.Cut(info.Main.Version, "+") // "+dirty"
	}
	if released := strings.TrimPrefix(named, "v"); released != named && !module.IsPseudoVersion(named) {
		r.version = released
		return nil
	}
	// A commit without a tag comes after the last tag and before the next. Every kind of package can have this version.
	base := "0.0.0"
	if module.IsPseudoVersion(named) {
		base, _, _ = strings.Cut(named[1:], "-")
	}
	r.version = base + "-git" + r.time.Format("20060102150405")
	return nil
}

// document writes the manual page, completions and sample configuration of a program.
func (r *release) document(program string) error {
	for name, args := range map[string][]string{
		program + ".8":    {"man"},
		program + ".bash": {"completion", "bash"},
		program + ".zsh":  {"completion", "zsh"},
		program + ".fish": {"completion", "fish"},
		program + ".toml": {"sample"},
	} {
		dated := fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix())
		text, err := r.run([]string{dated}, r.binary(r.host, program), args...)
		if err != nil {
			return err
		}
		if err := r.write(name, text); err != nil {
			return err
		}
		if err := r.write(name+".gz", compressed(text)); err != nil {
			return err
		}
	}
	users, err := os.ReadFile(filepath.Join(r.source, "contrib/systemd/teredo.sysusers"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(users)) {
		if strings.HasPrefix(line, "u "+program+" ") {
			if err := r.write(program+".sysusers", []byte(line)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeScripts writes what package managers run.
func (r *release) writeScripts() error {
	return fs.WalkDir(scripts, "scripts", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := scripts.ReadFile(path)
		if err != nil {
			return err
		}
		for _, name := range slices.Concat(programs, []string{common}) {
			filled := strings.NewReplacer("PROGRAM", name, "ROLE", role(name)).Replace(string(text))
			if err := r.write(name+"."+entry.Name(), []byte(filled)); err != nil {
				return err
			}
		}
		return nil
	})
}

//go:embed scripts
var scripts embed.FS

// role is what a program is: client, server or relay.
func role(program string) string { return strings.TrimPrefix(program, "teredo-") }

// writeDebianChangelog writes the changelog that Debian demands. What is new is in CHANGELOG.md.
func (r *release) writeDebianChangelog() error {
	for _, name := range append([]string{common}, programs...) {
		text := fmt.Sprintf("%s (%s) unstable; urgency=medium\n\n  * See /usr/share/doc/%s/changelog.gz.\n\n -- %s  %s\n",
			name, r.debianVersion(), common, maintainer, r.time.Format(time.RFC1123Z))
		if err := r.write(name+".changelog.gz", compressed([]byte(text))); err != nil {
			return err
		}
	}
	changes, err := os.ReadFile(filepath.Join(r.source, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	return r.write("changelog.gz", compressed(changes))
}

// write writes a file into the working folder. It is as old as the commit, as some packages record that.
func (r *release) write(name string, text []byte) error {
	path := filepath.Join(r.work, name)
	return errors.Join(os.WriteFile(path, text, 0o644), os.Chtimes(path, r.time, r.time))
}

// compressed is a text with gzip, without a name or time.
func compressed(text []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // a valid level
	w.Write(text)                                           // a buffer takes all
	w.Close()
	return out.Bytes()
}
