package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/apk"
	_ "github.com/goreleaser/nfpm/v2/arch"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

const (
	common     = "teredo-common" // what the packages of all programs need
	maintainer = "The Teredo suite authors <teredo-suite@users.noreply.github.com>"
	homepage   = "https://github.com/teredo-suite/teredo"
)

// architectures are the platforms that distributions with packages run on, as nfpm names them.
var architectures = map[string]string{
	"linux/amd64": "amd64", "linux/arm64": "arm64", "linux/arm": "arm6", "linux/riscv64": "riscv64",
}

// descriptions have a summary in the first line.
var descriptions = map[string]string{
	"teredo-client": "Teredo client: IPv6 for a host behind an IPv4 NAT\n" +
		"Gives this host an IPv6 address from a Teredo server (RFC 4380), and exchanges\n" +
		"packets directly with other clients, and through relays with native IPv6 hosts.",
	"teredo-server": "Teredo server: tells clients their address and opens NATs\n" +
		"Tells IPv6 clients behind IPv4 NATs how the Internet sees them, and helps them\n" +
		"to reach each other (RFC 4380). It carries no data and keeps no state.",
	"teredo-relay": "Teredo relay: carries packets between clients and native IPv6\n" +
		"Carries packets between native IPv6 hosts and Teredo clients (RFC 4380). It\n" +
		"runs on a router or host with native IPv6 and a public IPv4 address.",
	common: "files that the Teredo programs share\n" +
		"The folder for configuration files, documentation, and a rule that keeps\n" +
		"NetworkManager away from the interfaces of Teredo client, server and relay.",
}

// pack makes one package.
func (r *release) pack(name, platform, format string) (err error) {
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	version, prerelease, _ := strings.Cut(r.version, "-")
	info := &nfpm.Info{
		Name: name, Arch: architectures[platform], Platform: "linux",
		Version: version, Prerelease: prerelease, VersionSchema: "none", Release: "1",
		Section: "net", Priority: "optional", Maintainer: maintainer, Vendor: "Teredo suite", Homepage: homepage,
		License: "BSD-3-Clause", Description: descriptions[name], MTime: r.time, DisableGlobbing: true,
	}
	info.RPM.BuildHost = "localhost"
	info.RPM.Summary, _, _ = strings.Cut(info.Description, "\n")
	if name == common {
		info.Arch = "all"
		info.Contents = r.commonContents(format)
		info.Scripts.PostRemove = filepath.Join(r.work, name+".common-postrm")
	} else {
		info.Depends = []string{common}
		if format == "deb" {
			info.Depends = append(info.Depends, "systemd | systemd-standalone-sysusers | systemd-sysusers")
		}
		info.Contents = r.programContents(name, platform, format)
		script := func(which string) string { return filepath.Join(r.work, name+"."+which) }
		info.Scripts = nfpm.Scripts{PostInstall: script("postinst"), PreRemove: script("prerm"), PostRemove: script("postrm")}
		info.ArchLinux.Scripts.PostUpgrade = script("postinst")
		info.APK.Scripts.PostUpgrade = script("postinst")
	}
	if format == "archlinux" {
		// nfpm would leave it out of the package's metadata.
		info.Version, info.Prerelease = version+prerelease, ""
	}
	if format == "rpm" {
		info.Contents = append(info.Contents, r.folders(info.Contents)...)
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	to, err := os.Create(filepath.Join(r.out, packager.ConventionalFileName(info)))
	if err != nil {
		return err
	}
	return errors.Join(packager.Package(info, to), to.Close())
}

// debianVersion is the version as Debian writes it, where a version that is not released comes before the next.
func (r *release) debianVersion() string { return strings.Replace(r.version, "-", "~", 1) + "-1" }

// content is a file of a package. The time is the commit's.
func (r *release) content(source, destination string, mode os.FileMode) *files.Content {
	return &files.Content{Source: source, Destination: destination, FileInfo: &files.ContentFileInfo{Mode: mode, MTime: r.time}}
}

// folders are those of a package's files that no package of the distribution has for sure. Other package managers than rpm find
// out by themselves when a folder is to be removed.
func (r *release) folders(contents files.Contents) (all files.Contents) {
	var seen []string
	for _, c := range contents {
		for folder := path.Dir(c.Destination); folder != "/"; folder = path.Dir(folder) {
			own := regexp.MustCompile(`/(teredo|NetworkManager|iproute2|licenses|site-functions|vendor_completions)`).MatchString(folder)
			if own && !slices.Contains(seen, folder) {
				seen = append(seen, folder)
				entry := r.content("", folder, 0o755)
				entry.Type = files.TypeDir
				all = append(all, entry)
			}
		}
	}
	return all
}

// programContents are the files of a program's package. Nothing of it is in /etc but a link to the sample: what is there is the
// administrator's, and no upgrade asks about it.
func (r *release) programContents(name, platform, format string) (all files.Contents) {
	made := func(suffix, destination string) {
		all = append(all, r.content(filepath.Join(r.work, name+suffix), destination, 0o644))
	}
	all = append(all, r.content(filepath.Join(r.work, r.folder(platform), name), "/usr/bin/"+name, 0o755))
	made(".8.gz", "/usr/share/man/man8/"+name+".8.gz")
	made(".bash", "/usr/share/bash-completion/completions/"+name)
	made(".fish", "/usr/share/fish/vendor_completions.d/"+name+".fish")
	made(".toml", "/usr/share/teredo/"+role(name)+".toml")
	sample := r.content("/usr/share/teredo/"+role(name)+".toml", "/etc/teredo/"+role(name)+".toml.sample", 0)
	sample.Type = files.TypeSymlink
	all = append(all, sample)
	if format == "deb" {
		made(".zsh", "/usr/share/zsh/vendor-completions/_"+name)
	} else {
		made(".zsh", "/usr/share/zsh/site-functions/_"+name)
	}
	if format == "apk" {
		all = append(all, r.content(filepath.Join(r.source, "contrib/openrc/teredo"), "/etc/init.d/"+name, 0o755))
	} else {
		all = append(all, r.content(filepath.Join(r.source, "contrib/systemd", name+".service"), "/usr/lib/systemd/system/"+name+".service", 0o644))
		made(".sysusers", "/usr/lib/sysusers.d/"+name+".conf")
		if name == "teredo-server" {
			all = append(all, r.content(filepath.Join(r.source, "contrib/systemd/teredo-server-relay.conf"), "/usr/share/teredo/teredo-server-relay.conf", 0o644))
		}
	}
	return append(all, r.legal(name, format)...)
}

// commonContents are the files of the package that the others need.
func (r *release) commonContents(format string) (all files.Contents) {
	folder := r.content("", "/etc/teredo", 0o755)
	folder.Type = files.TypeDir
	all = files.Contents{
		folder,
		r.content(filepath.Join(r.source, "contrib/NetworkManager/90-teredo.conf"), "/usr/lib/NetworkManager/conf.d/90-teredo.conf", 0o644),
		r.content(filepath.Join(r.source, "contrib/iproute2/teredo.conf"), "/usr/share/iproute2/rt_protos.d/teredo.conf", 0o644),
		r.content(filepath.Join(r.work, "changelog.gz"), "/usr/share/doc/"+common+"/changelog.gz", 0o644),
		r.content(filepath.Join(r.source, "README.md"), "/usr/share/doc/"+common+"/README.md", 0o644),
	}
	pages, _ := filepath.Glob(filepath.Join(r.source, "docs/*.md")) // the pattern is well-formed
	for _, page := range pages {
		all = append(all, r.content(page, "/usr/share/doc/"+common+"/docs/"+filepath.Base(page), 0o644))
	}
	return append(all, r.legal(common, format)...)
}

// legal are the licences of a package, where its distribution has them.
func (r *release) legal(name, format string) files.Contents {
	licence, about := filepath.Join(r.work, name+".licences"), filepath.Join(r.work, name+".copyright")
	if name == common {
		licence = filepath.Join(r.source, "LICENSE")
		about = licence
	}
	if format != "deb" {
		return files.Contents{r.content(licence, fmt.Sprintf("/usr/share/licenses/%s/LICENSE", name), 0o644)}
	}
	folder := "/usr/share/doc/" + name + "/"
	all := files.Contents{
		r.content(about, folder+"copyright", 0o644),
		r.content(filepath.Join(r.work, name+".changelog.gz"), folder+"changelog.Debian.gz", 0o644),
	}
	if name != common {
		all = append(all,
			r.content(licence+".gz", folder+"licences.gz", 0o644),
			r.content(filepath.Join(r.source, "contrib/package/lintian", name), "/usr/share/lintian/overrides/"+name, 0o644))
	}
	return all
}
