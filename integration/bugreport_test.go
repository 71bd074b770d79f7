//go:build linux

package integration

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestBugreport takes bug reports of running programs that have secrets. They have what helps, and no secret in any form.
func TestBugreport(t *testing.T) {
	t.Parallel()
	const secret = "6f1d0a55c3f04ab1b6d1e9d7a2c84e30"
	w := newWorld(t, lab.PortRestricted)
	w.record()
	w.secret("server", "laptop hex:"+secret+"\n")
	w.secret("client", "laptop hex:"+secret+"\n")
	for _, role := range []string{"server", "client"} {
		w.config(role, fmt.Sprintf("# %s\nsecret-file = %q\nlog-level = \"debug\"\n", secret, filepath.Join(w.Folder(), role+".secret")))
	}
	server := w.start("server", w.serverCommand("--config", filepath.Join(w.Folder(), "server.toml"))...)
	w.until(server, startTimeout, "the server to listen", func() error { return w.listens("server", 3544) })
	w.startRelay(ours)
	_, addr := w.startClient("client1", ours, "--config", filepath.Join(w.Folder(), "client.toml"))
	w.ping("client1", netip.MustParseAddr(lab.NativeAddr))

	raw, err := hex.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	forms := []string{secret, string(raw), base64.StdEncoding.EncodeToString(raw), strings.Trim(fmt.Sprint(raw), "[]")}
	for host, wants := range map[string]map[string]string{
		"server":  {"status.json": `"solicitations"`, "config.txt": "secret-file = " + filepath.Join(w.Folder(), "server.secret"), "log.txt": "serving only clients with a secret"},
		"relay":   {"status.json": `"running"`, "peers.json": addr.String(), "config.txt": "port = 3545", "log.txt": "relaying", "routes.txt": "2001::/32 dev " + tun},
		"client1": {"status.json": addr.String(), "peers.json": lab.NativeAddr, "config.txt": "server = " + lab.ServerAddr, "log.txt": "qualifying with a secret", "addresses.txt": addr.String(), "probe.txt": lab.ServerAddr + "  does not work", "kernel.txt": "Linux", "version.txt": "running: teredo-client"},
	} {
		file := filepath.Join(w.Folder(), host+".tar.gz")
		argv := []string{program(strings.TrimRight(host, "12")), "bugreport", "--control", w.control(host), "-o"}
		report := w.start(host, append(argv, file)...)
		w.wantExit(report, 0, "Read it before you send it", "status.json")
		content := unpack(t, file)
		for name, want := range wants {
			if !strings.Contains(content[name], want) {
				t.Errorf("%s: %s has no %q: %s", host, name, want, content[name])
			}
		}
		for name, text := range content {
			for _, form := range forms {
				if strings.Contains(text, form) {
					t.Errorf("%s: a secret is in %s: %s", host, name, text)
				}
			}
			if strings.Contains(text, "not complete") {
				t.Errorf("%s: %s is not complete: %s", host, name, text)
			}
		}
	}

	// Others than root are not told of configuration, log and peers.
	folder := filepath.Join(w.Folder(), "nobody")
	if err := errors.Join(os.Mkdir(folder, 0o700), os.Chown(folder, 65534, 65534), os.Chmod(w.Folder(), 0o755), os.Chmod(filepath.Dir(program("client")), 0o755)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "r.tar.gz")
	w.wantExit(w.start("client1", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--",
		program("client"), "bugreport", "--control", w.control("client1"), "-o", file), 0)
	content := unpack(t, file)
	for _, name := range []string{"config.txt", "log.txt", "peers.json"} {
		if text := content[name]; !strings.Contains(text, "not complete") || !strings.Contains(text, "those who may ask are root") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if !strings.Contains(content["status.json"], addr.String()) {
		t.Errorf("status %s", content["status.json"])
	}
}

// TestBugreportProbe: the probe in a report takes the running client's server and its ranges.
func TestBugreportProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	w.startServer(ours)
	w.startClient("client1", ours)
	file := filepath.Join(w.Folder(), "r.tar.gz")
	w.wantExit(w.start("client1", program("client"), "bugreport", "--control", w.control("client1"), "-o", file), 0, "probe.txt")
	if text := unpack(t, file)["probe.txt"]; !strings.Contains(text, "port-restricted") {
		t.Errorf("probe.txt: %s", text)
	}
}

// unpack has tar unpack a bug report, as those who get one do, and returns its files by their names without the folder.
func unpack(t *testing.T, file string) map[string]string {
	t.Helper()
	folder := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", file, "-C", folder, "--strip-components=1").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	content := make(map[string]string)
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(folder, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		content[f.Name()] = string(text)
	}
	return content
}
