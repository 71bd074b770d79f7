package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
)

// version is set by the linker (-X) when a release is built from a tree without version control.
var version string

// Version is the version command.
type Version struct{}

// Run prints one line: program, version, commit, Go version and platform.
func (Version) Run(k *kong.Kong) error {
	_, err := fmt.Fprintln(k.Stdout, versionLine(k.Model.Name))
	return err
}

func versionLine(program string) string {
	return fmt.Sprintf("%s %s (%s, %s/%s)", program, built(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// built names the version of this program.
func built() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describe(version, info)
}

// versionFlag is the flag that every program has beside its commands.
type versionFlag struct {
	Version showVersion `help:"Show the version."`
}

type showVersion bool

// BeforeReset is called by kong when the flag is given, and ends the program.
func (showVersion) BeforeReset(k *kong.Kong) error {
	err := Version{}.Run(k)
	k.Exit(exitStopped)
	return err
}

// describe names the version: what the linker was told, else what the go command recorded.
func describe(linked string, info *debug.BuildInfo) string {
	name := linked
	if name == "" {
		name = info.Main.Version
	}
	if name == "" || name == "(devel)" {
		name = "development build"
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	commit := settings["vcs.revision"]
	commit = commit[:min(12, len(commit))]
	if strings.Contains(name, commit) {
		return name // there is none, or it is part of a pseudo-version
	}
	name += ", commit " + commit
	if settings["vcs.modified"] == "true" {
		name += " with local changes"
	}
	return name
}
