// Command package makes the files of a release: packages for Linux distributions, archives for every system, checksums, and a list
// of the modules inside. The same commit gives the same bits.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	var r release
	platforms := flag.String("platforms", "linux/amd64", "platforms to build for, with spaces between")
	formats := flag.String("formats", "deb rpm apk archlinux archive", "what to make, with spaces between")
	flag.StringVar(&r.source, "source", "../..", "folder of the sources")
	flag.StringVar(&r.out, "out", "../../dist", "folder to write to")
	flag.Parse()
	if err := r.make(strings.Fields(*platforms), strings.Fields(*formats)); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

// programs are in a package each.
var programs = []string{"teredo-client", "teredo-relay", "teredo-server"}

// release is what one run makes.
type release struct {
	source string // folder of the sources
	out    string // folder of the finished files
	work   string // folder of the files that go into them
	host   string // platform of this machine, whose programs write their documentation

	version string    // without the v
	time    time.Time // of the commit
}

func (r *release) make(platforms, formats []string) error {
	if err := r.prepare(platforms); err != nil {
		return err
	}
	for _, platform := range platforms {
		for _, format := range formats {
			if err := r.finish(platform, format); err != nil {
				return fmt.Errorf("%s for %s: %w", format, platform, err)
			}
		}
	}
	if err := r.writeComponents(platforms); err != nil {
		return err
	}
	return r.writeSums()
}

// finish makes what a platform has in a format.
func (r *release) finish(platform, format string) error {
	if format == "archive" {
		return r.archive(platform)
	}
	if _, packaged := architectures[platform]; !packaged {
		return nil
	}
	names := programs
	if platform == "linux/amd64" {
		names = slices.Concat(programs, []string{common}) // for all architectures
	}
	for _, name := range names {
		if err := r.pack(name, platform, format); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
