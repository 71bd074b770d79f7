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
	_, err := fmt.Fprintf(k.Stdout, "%s %s (%s, %s/%s)\n", k.Model.Name, built(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// built names the version of this program.
func built() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describe(version, info)
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
