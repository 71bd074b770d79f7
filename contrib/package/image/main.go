// Command image makes a container image with the client and nothing else, without a container engine. Docker and Podman load it.
// The same commit gives the same bits.
package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func main() {
	source := flag.String("source", "../..", "folder of the sources")
	out := flag.String("out", "../../dist/teredo-client-image.tar", "file to write")
	platform := flag.String("platform", "linux/amd64", "system and processor to build for")
	tag := flag.String("tag", "teredo-client:latest", "name of the image")
	flag.Parse()
	if err := write(*source, *out, *platform, *tag); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// nobody is whom the client runs as in the image.
const nobody = 65534

func write(source, out, platform, tag string) error {
	at, err := commitTime(source)
	if err != nil {
		return err
	}
	program, err := build(source, platform)
	if err != nil {
		return err
	}
	layer, err := layerOf(program, at)
	if err != nil {
		return err
	}
	image, err := imageOf(layer, platform, at)
	if err != nil {
		return err
	}
	reference, err := name.NewTag(tag)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return tarball.WriteToFile(out, reference, image)
}

// commitTime is the time that all files have.
func commitTime(source string) (time.Time, error) {
	seconds := os.Getenv("SOURCE_DATE_EPOCH")
	if seconds == "" {
		text, err := exec.Command("git", "-C", source, "show", "-s", "--format=%ct", "HEAD").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("set SOURCE_DATE_EPOCH where there is no git: %w", err)
		}
		seconds = strings.TrimSpace(string(text))
	}
	since, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is not a number of seconds: %w", err)
	}
	return time.Unix(since, 0).UTC(), nil
}

// build returns the client as a static program.
func build(source, platform string) (program []byte, err error) {
	folder, err := os.MkdirTemp("", "teredo-image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	system, processor, _ := strings.Cut(platform, "/")
	file := filepath.Join(folder, "teredo-client")
	command := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -X github.com/teredo-suite/teredo/internal/cli.version="+os.Getenv("VERSION"),
		"-o", file, "./cmd/teredo-client")
	command.Dir = source
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+processor)
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("build the client: %w", err)
	}
	return os.ReadFile(file)
}

// layerOf is a root file system with the program, the folders that it writes to, and the certificates that programs of other layers look for.
func layerOf(program []byte, at time.Time) (v1.Layer, error) {
	var text bytes.Buffer
	archive := tar.NewWriter(&text)
	add := func(name string, mode int64, owner int, content []byte) error {
		header := &tar.Header{Name: name, Mode: mode, Uid: owner, Gid: owner, Size: int64(len(content)), ModTime: at, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if strings.HasSuffix(name, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := archive.Write(content)
		return err
	}
	err := errors.Join(
		add("etc/", 0o755, 0, nil),
		add("etc/passwd", 0o644, 0, []byte(fmt.Sprintf("nobody:x:%d:%[1]d:nobody:/:/nonexistent\n", nobody))),
		add("etc/ssl/", 0o755, 0, nil),
		add("etc/ssl/certs/", 0o755, 0, nil),
		add("etc/ssl/certs/ca-certificates.crt", 0o644, 0, certificates()),
		add("run/", 0o755, 0, nil),
		add("run/teredo-client/", 0o1777, 0, nil), // for nobody, and for a root that has no CAP_DAC_OVERRIDE
		add("tmp/", 0o1777, 0, nil),
		add("usr/", 0o755, 0, nil),
		add("usr/bin/", 0o755, 0, nil),
		add("usr/bin/teredo-client", 0o755, 0, program),
		archive.Close(),
	)
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil })
}

// certificates are Mozilla's root certificates in PEM, without those that it trusts with constraints, which a file cannot say.
func certificates() []byte {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes all
		}
	}
	return text.Bytes()
}

// imageOf is the image with its only layer.
func imageOf(layer v1.Layer, platform string, at time.Time) (v1.Image, error) {
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, _ = strings.Cut(platform, "/")
	file.Created = v1.Time{Time: at}
	file.Config = v1.Config{
		Entrypoint: []string{"/usr/bin/teredo-client"}, User: fmt.Sprintf("%d:%[1]d", nobody),
		Labels: map[string]string{"org.opencontainers.image.source": "https://github.com/teredo-suite/teredo", "org.opencontainers.image.licenses": "BSD-3-Clause"},
	}
	return mutate.ConfigFile(image, file)
}
