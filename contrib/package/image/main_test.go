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

// recipe is what docs/container.md has the image run for a command: the words after the name of the image.
func recipe(t *testing.T, command string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(source, "docs/container.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		if _, words, found := strings.Cut(line, " teredo-client:latest "); found && strings.HasPrefix(strings.TrimSpace(words), command+" ") {
			return words
		}
	}
	t.Fatalf("docs/container.md has no recipe for %s", command)
	return ""
}

// Three containers share a network namespace, in which a Teredo server runs. Two of them run "proxy" as nobody, with no capability,
// no device and no file but those of the image: one publishes a web page, and a program fetches it through the SOCKS server of the other.
// The third has what its recipe grants "run", and a program fetches the page by its interface. Recipes are those of docs/container.md.
func TestImage(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("it makes a network namespace, which takes root")
		}
		t.Skip("it makes a network namespace: run it as root")
	}
	image := made(t)
	server := filepath.Join(t.TempDir(), "teredo-server")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", server, "./cmd/teredo-server")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const script = `set -e
		ip link set lo up
		for host in 1 2 3 4 5; do ip address add 192.0.2.$host/32 dev lo; done
		lab="--permit-ipv4 192.0.2.0/24 --no-port-mapping --log-level warn"
		"$SERVER" run --bind 192.0.2.1 --bind2 192.0.2.2 --permit-ipv4 192.0.2.0/24 --control "$SOCKET" --log-level error &
		"$SERVER" status --wait=60s --control "$SOCKET" >/dev/null

		contained() { root=$1; shift; chroot --userspec=65534:65534 --groups= "$root" /usr/bin/teredo-client "$@"; }
		contained "$FIRST" version
		contained "$FIRST" probe 192.0.2.1 --bind 192.0.2.3 --permit-ipv4 192.0.2.0/24 --no-port-mapping
		contained "$FIRST" proxy --server 192.0.2.1 --bind 192.0.2.3 $lab --web 127.0.0.1:9544 --publish 80=127.0.0.1:9544 &
		contained "$SECOND" $PROXY --bind 192.0.2.4 $lab &
		bwrap --bind "$THIRD" / --dev /dev --dev-bind /dev/net/tun /dev/net/tun --proc /proc --ro-bind /proc/sys /proc/sys \
			--cap-drop ALL --cap-add CAP_NET_ADMIN /usr/bin/teredo-client $RUN --bind 192.0.2.5 $lab &
		contained "$FIRST" status --wait=5m >/dev/null
		contained "$SECOND" status --wait=5m >/dev/null
		chroot "$THIRD" /usr/bin/teredo-client status --wait=5m >/dev/null
		address=$(contained "$FIRST" status --json | sed -n 's/^ *"address": *"\(.*\)",*$/\1/p')
		fetch() { curl --silent --show-error --fail --retry 60 --retry-delay 1 --max-time 120 --header "Host: localhost" "$@" "http://[$address]/readyz"; }
		echo "by SOCKS: $(fetch --noproxy "" --proxy socks5h://127.0.0.1:1080)"
		echo "by the interface: $(fetch --noproxy "*")"`
	run := exec.Command("unshare", "--net", "--ipc", "--pid", "--mount-proc", "--fork", "--kill-child", "sh", "-c", script)
	run.Env = append(os.Environ(), "SERVER="+server, "SOCKET="+filepath.Join(t.TempDir(), "server.sock"), "PROXY="+recipe(t, "proxy"), "RUN="+recipe(t, "run"),
		"FIRST="+unpacked(t, image), "SECOND="+unpacked(t, image), "THIRD="+unpacked(t, image))
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{"teredo-client ", "by SOCKS: ok", "by the interface: ok"} {
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
