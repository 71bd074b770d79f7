//go:build linux

package windows

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	asked      = "TEREDO_TEST_WINDOWS" // environment: run these tests, as make test-windows does
	binFolder  = "TEREDO_TEST_BIN"     // environment: where the programs are
	wineFolder = "TEREDO_TEST_WINE"    // environment: where Wine is

	// timeout is far longer than any command needs, as two cores may have much else to do.
	timeout = 2 * time.Minute
)

// units are the packages whose own tests run in Wine, with the tests that can: the others make sockets of package net, for which
// Wine lacks SIO_UDP_NETRESET.
var units = map[string]string{
	"internal/udp": ".", "internal/netcfg": ".", "internal/control": ".", "internal/secret": "Windows", "internal/onchange": "Windows",
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration/windows:", err)
		code = 1
	}
	os.Exit(code)
}

// run makes Wine ready, builds the programs, and runs the tests in namespaces of their own.
func run(m *testing.M) (int, error) {
	switch {
	case os.Getenv(asked) == "":
		return m.Run(), nil // every test skips
	case lab.Isolated():
		if err := lab.Enter(); err != nil {
			return 0, err
		}
		if err := enter(os.Getenv(wineFolder), os.Getenv(binFolder)); err != nil {
			return 0, err
		}
		return m.Run(), nil
	case os.Geteuid() != 0:
		return 0, errors.New("run these tests as root: they make a folder with another system, and mount file systems in it")
	}
	wine, err := folder()
	if err != nil {
		return 0, err
	}
	bin, err := os.MkdirTemp("", "teredo-windows")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(bin)
	if err := errors.Join(lab.BuildPrograms(bin), build(bin)); err != nil {
		return 0, err
	}
	return lab.Isolate(wineFolder+"="+wine, binFolder+"="+bin)
}

// build builds the programs for Windows, and the tests of units.
func build(bin string) error {
	builds := [][]string{{"build", "-o", bin + "/", module + "/cmd/teredo-client", module + "/cmd/teredo-server"}}
	for unit := range units {
		builds = append(builds, []string{"test", "-c", "-o", filepath.Join(bin, filepath.Base(unit)+".exe"), module + "/" + unit})
	}
	for _, args := range builds {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build for Windows: %w: %s", err, out)
		}
	}
	return nil
}

const module = "github.com/teredo-suite/teredo"

// world is a lab with Windows on one host.
type world struct {
	*lab.Lab
	t *testing.T
}

func newWorld(t *testing.T, nat lab.NAT) world {
	t.Helper()
	if os.Getenv(asked) == "" {
		t.Skip("make test-windows runs it")
	}
	l, err := lab.New(nat, nat)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range l.Processes() {
				t.Logf("%s:\n%s", p.Name, p.Tail(40))
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return world{l, t}
}

// argv is the command line of a program for Windows on a host.
func (w world) argv(host, program string, args ...string) []string {
	home := filepath.Base(w.Folder()) + "-" + host
	return wine(os.Getenv(wineFolder), home, append([]string{`Z:\mnt\` + program}, args...)...)
}

// windows runs a program for Windows to its end, and returns what it printed and its exit code.
func (w world) windows(host, program string, args ...string) (out string, code int) {
	w.t.Helper()
	out, err := w.Host(host).Run(timeout, w.argv(host, program, args...)...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out + err.Error(), exit.ExitCode()
	}
	if err != nil {
		w.t.Fatalf("%s %v: %v: %s", program, args, err, out)
	}
	return out, 0
}

// want runs a program for Windows, and wants an exit code and a text in what it prints.
func (w world) want(host string, code int, text, program string, args ...string) string {
	w.t.Helper()
	out, got := w.windows(host, program, args...)
	if got != code || !strings.Contains(out, text) {
		w.t.Errorf("%s %v: exit code %d, %s\nwant %d, %q", program, args, got, out, code, text)
	}
	return out
}

// start starts a program for Windows. Another command has made the home of Wine before: two at once that make it fail.
func (w world) start(host, program string, args ...string) {
	w.t.Helper()
	w.want(host, 0, "windows/amd64", program, "version")
	if _, err := w.Host(host).Start(w.argv(host, program, args...)...); err != nil {
		w.t.Fatal(err)
	}
}

// The tests of what is different on Windows pass there.
func TestUnits(t *testing.T) {
	w := newWorld(t, lab.PortRestricted)
	for unit, tests := range units {
		w.want("client1", 0, "PASS", filepath.Base(unit)+".exe", "-test.timeout=1m", "-test.run="+tests)
	}
}

// The commands that ask nobody, and those that find nobody to ask.
func TestAlone(t *testing.T) {
	w := newWorld(t, lab.PortRestricted)
	const client = "teredo-client.exe"
	w.want("client1", 0, "windows/amd64", client, "version")
	w.want("client1", 0, "192.0.2.1", client, "explain", "2001:0:c000:201:0:efff:3fff:fdfe")
	w.want("client1", 1, "not running", client, "status")
	w.want("client1", 1, "'teredo-client proxy'", client, "run", "--server", lab.ServerAddr, "--permit-ipv4", lab.PublicRanges)
	w.want("client1", 64, "--help", client, "run")
}

// A probe behind a NAT finds the server and says what the NAT does.
func TestProbe(t *testing.T) {
	w := newWorld(t, lab.PortRestricted)
	w.startServer()
	out, code := w.windows("client1", "teredo-client.exe", "probe", "--json", "--permit-ipv4", lab.PublicRanges, lab.ServerAddr)
	var report struct {
		Best   string   `json:"best"`
		Local  string   `json:"local_address"`
		Mapped []string `json:"mapped_addresses"`
		NAT    struct {
			Kind, Mapping, Filtering string
		} `json:"nat"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	if report.Best != lab.ServerAddr || report.Local != "192.168.1.2" || len(report.Mapped) != 1 || report.Mapped[0] != lab.NAT1Addr {
		t.Errorf("%s", out)
	}
	if report.NAT.Kind != "port-restricted" {
		t.Errorf("NAT %+v, want a port-restricted one", report.NAT)
	}
}

// startServer starts a server on Linux.
func (w world) startServer() {
	w.t.Helper()
	control := filepath.Join(w.Folder(), "server.sock")
	program := filepath.Join(os.Getenv(binFolder), "teredo-server")
	if _, err := w.Host("server").Start(program, "run", "--bind", lab.ServerAddr, "--bind2", lab.ServerAddr2,
		"--permit-ipv4", lab.PublicRanges, "--control", control); err != nil {
		w.t.Fatal(err)
	}
	if out, err := w.Host("server").Run(timeout, program, "status", "--wait=1m", "--control", control); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
}

// A server on Windows serves clients elsewhere, and tells its state. It has one address here: Wine binds a UDP socket to an interface
// instead of an address, so the sockets of two addresses of one interface exclude each other.
func TestServer(t *testing.T) {
	w := newWorld(t, lab.PortRestricted)
	const server = "teredo-server.exe"
	w.start("server", server, "run", "--bind", lab.ServerAddr, "--permit-ipv4", lab.PublicRanges)
	w.want("server", 0, `"running"`, server, "status", "--json", "--wait=1m")
	w.want("server", 1, "already running", server, "run", "--bind", lab.ServerAddr, "--permit-ipv4", lab.PublicRanges)
	out, err := w.Host("client1").Run(timeout, filepath.Join(os.Getenv(binFolder), "teredo-client"), "probe",
		"--permit-ipv4", lab.PublicRanges, lab.ServerAddr)
	if err != nil || !strings.Contains(out, "answers in") || !strings.Contains(out, lab.NAT1Addr) {
		t.Errorf("%v: %s", err, out)
	}
}

// A proxy on Windows, behind a NAT, fetches a page from a native host over SOCKS and over HTTP, and tells its state.
func TestProxy(t *testing.T) {
	w := newWorld(t, lab.PortRestricted)
	w.startServer()
	bin := os.Getenv(binFolder)
	if _, err := w.Host("relay").Start(filepath.Join(bin, "teredo-relay"), "run", "--bind", lab.RelayAddr, "--forwarding",
		"--permit-ipv4", lab.PublicRanges, "--control", filepath.Join(w.Folder(), "relay.sock")); err != nil {
		t.Fatal(err)
	}
	l, err := w.Host("native").Listen("[" + lab.NativeAddr + "]:80")
	if err != nil {
		t.Fatal(err)
	}
	page := &http.Server{Handler: http.HandlerFunc(func(to http.ResponseWriter, _ *http.Request) { fmt.Fprint(to, "a page by IPv6") })}
	go page.Serve(l)
	defer page.Close()
	const client = "teredo-client.exe"
	w.start("client1", client, "proxy", "--server", lab.ServerAddr, "--socks", "127.0.0.1:1080", "--http", "127.0.0.1:8080",
		"--permit-ipv4", lab.PublicRanges, "--permit-ipv6", "2001:db8::/32")
	w.want("client1", 0, `"qualified"`, client, "status", "--json", "--wait=2m")
	for _, proxy := range []string{"socks5h://127.0.0.1:1080", "http://127.0.0.1:8080"} {
		out, err := w.Host("client1").Run(timeout, "curl", "--silent", "--show-error", "--globoff", "--max-time", "60",
			"--proxy", proxy, "http://["+lab.NativeAddr+"]/")
		if err != nil || out != "a page by IPv6" {
			t.Errorf("over %s: %v: %s", proxy, err, out)
		}
	}
	w.want("client1", 0, lab.NativeAddr, client, "peers")
}
