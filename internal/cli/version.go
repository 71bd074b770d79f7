package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
)

// version is set by the linker (-X) when a release is built from a tree without version control.
var version string

// Version is the version command.
type Version struct {
	JSON bool `help:"Print JSON instead of text."`
}

// Run prints one line: program, version, commit, Go version, platform, and how the go command was told to build it.
func (v Version) Run(k *kong.Kong) error {
	if !v.JSON {
		_, err := fmt.Fprintln(k.Stdout, versionLine(k.Model.Name))
		return err
	}
	info := buildInfo()
	recorded := buildSettings(info)
	text, err := json.MarshalIndent(versionInfo{
		Program: k.Model.Name, Version: describe(version, info),
		Commit: recorded["vcs.revision"], CommitTime: recorded["vcs.time"], Changed: recorded["vcs.modified"] == "true",
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Options: buildOptions(info),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("write the version: %w", err)
	}
	_, err = fmt.Fprintf(k.Stdout, "%s\n", text)
	return err
}

// versionInfo is what version --json prints.
type versionInfo struct {
	Program    string   `json:"program"`
	Version    string   `json:"version"`
	Commit     string   `json:"commit,omitempty"`
	CommitTime string   `json:"commit_time,omitempty"`
	Changed    bool     `json:"local_changes"`
	Go         string   `json:"go"`
	OS         string   `json:"os"`
	Arch       string   `json:"arch"`
	Options    []string `json:"options"` // of the build
}

func versionLine(program string) string {
	info := buildInfo()
	about := append([]string{runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}, buildOptions(info)...)
	return fmt.Sprintf("%s %s (%s)", program, describe(version, info), strings.Join(about, ", "))
}

// built names the version of this program.
func built() string { return describe(version, buildInfo()) }

// buildInfo is what the go command recorded in this program. Without a record it is empty.
func buildInfo() *debug.BuildInfo {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info
	}
	return &debug.BuildInfo{}
}

// buildSettings are those that the go command recorded.
func buildSettings(info *debug.BuildInfo) map[string]string {
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	return settings
}

// buildOptions are the settings that one build can have otherwise than another of the same commit for the same platform.
func buildOptions(info *debug.BuildInfo) (options []string) {
	for _, s := range info.Settings {
		known := strings.HasPrefix(s.Key, "vcs") || s.Key == "GOOS" || s.Key == "GOARCH" || s.Key == "-buildmode" || s.Key == "-compiler"
		if !known {
			options = append(options, s.Key+"="+s.Value)
		}
	}
	return options
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
	settings := buildSettings(info)
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
