package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const source = "../../.."

// made makes the image and returns its file.
func made(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := write(source, file, "linux/amd64", "teredo-client:test"); err != nil {
		t.Fatal(err)
	}
	return file
}

// unpacked is the root file system of an image.
func unpacked(t *testing.T, file string) string {
	t.Helper()
	image, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	config, err := image.ConfigFile()
	if err != nil || config.Config.User != "65534:65534" || config.Config.Entrypoint[0] != "/usr/bin/teredo-client" {
		t.Fatalf("%v: %+v", err, config)
	}
	text, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(text); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return root
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, header.Name)
		if header.Typeflag == tar.TypeDir {
			err = os.Mkdir(path, 0o755)
		} else {
			var content []byte
			if content, err = io.ReadAll(archive); err == nil {
				err = os.WriteFile(path, content, 0o755)
			}
		}
		if err = errors.Join(err, os.Chown(path, header.Uid, header.Gid), os.Chmod(path, header.FileInfo().Mode())); err != nil {
			t.Fatal(err)
		}
	}
}

// The client in its image runs as nobody, with no capability, no device and no other file, in a namespace of its own. There it
// probes a server.
func TestImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it makes a network namespace: run it as root")
	}
	root := unpacked(t, made(t))
	server := filepath.Join(t.TempDir(), "teredo-server")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", server, "./cmd/teredo-server")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const script = `set -e
		ip link set lo up
		for host in 1 2 3; do ip address add 192.0.2.$host/32 dev lo; done
		"$SERVER" run --bind 192.0.2.1 --bind2 192.0.2.2 --permit-ipv4 192.0.2.0/24 --control "$SOCKET" --log-level error &
		trap "kill $!" EXIT
		"$SERVER" status --wait=60s --control "$SOCKET" >/dev/null
		contained() { chroot --userspec=65534:65534 --groups= "$ROOT" /usr/bin/teredo-client "$@"; }
		contained version
		contained probe 192.0.2.1 --bind 192.0.2.3 --permit-ipv4 192.0.2.0/24 --no-port-mapping`
	run := exec.Command("unshare", "--net", "--ipc", "sh", "-c", script)
	run.Env = append(os.Environ(), "ROOT="+root, "SERVER="+server, "SOCKET="+filepath.Join(t.TempDir(), "server.sock"))
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{"teredo-client ", "192.0.2.1"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	t.Logf("%s", out)
}

// Programs of other layers find root certificates where they look for them.
func TestCertificates(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(unpacked(t, made(t)), "etc/ssl/certs/ca-certificates.crt"))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err != nil || !c.IsCA {
			t.Errorf("certificate %d: %v", count, err)
		}
		count++
	}
	if count < 50 {
		t.Errorf("%d certificates", count)
	}
}

// The same sources give the same bits.
func TestReproducible(t *testing.T) {
	first, err := os.ReadFile(made(t))
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(made(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two images differ")
	}
	t.Logf("%d bytes", len(first))
}
