//go:build linux

package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// checkCommand makes a check of a command line of the run command.
func checkCommand(run []string, more ...string) []string {
	argv := append([]string{run[0], "check"}, run[2:]...)
	return append(argv, more...)
}

// TestCheck tells beforehand whether a start would succeed, and does not disturb those that run.
func TestCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	commands := map[string][]string{
		"server":  w.serverCommand("--web", "127.0.0.1:9544"),
		"relay":   w.relayCommand("--web", "127.0.0.1:9544"),
		"client1": w.clientCommand("client1", "--web", "127.0.0.1:9544", "--port", "40000"),
	}
	before := w.state("client1")
	w.wantExit(w.start("client1", checkCommand(commands["client1"])...), 1, "The control socket can be made", "UDP port 40000 of 0.0.0.0 is free",
		"The interface teredo can be made", "The address 127.0.0.1:9544 of the web page is free", "The server "+lab.ServerAddr+","+lab.ServerAddr2+": "+lab.ServerAddr+" does not answer")
	if after := w.state("client1"); after != before {
		t.Errorf("the check has changed the host:\n%s\nwas:\n%s", after, before)
	}
	if _, err := os.Stat(w.control("client1")); !os.IsNotExist(err) {
		t.Error(err)
	}
	running := make(map[string]*lab.Process)
	for _, host := range roles {
		if host != "client1" {
			w.wantExit(w.start(host, checkCommand(commands[host])...), 0)
		}
		running[host] = w.start(host, commands[host]...)
		w.wantExit(w.start(host, w.statusCommand(host, "--wait")...), 0)
	}
	addr, _ := w.teredoAddr("client1")
	for _, host := range roles {
		out, err := w.Host(host).Run(startTimeout, checkCommand(commands[host], "--json")...)
		var report struct {
			Result   string `json:"result"`
			Findings []struct{ Result, Subject, Finding string }
		}
		if jsonErr := json.Unmarshal([]byte(out), &report); err != nil || jsonErr != nil || report.Result == "error" || len(report.Findings) < 5 {
			t.Errorf("%s: %v, %v: %s", host, err, jsonErr, out)
		}
		for _, want := range []string{"A program runs already", "The running program serves its web page"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in %s", host, want, out)
			}
		}
	}
	if now, _ := w.teredoAddr("client1"); now != addr {
		t.Errorf("the client had %v and has %v", addr, now)
	}
	w.ping("native", addr)
	for _, host := range roles {
		w.stop(running[host])
	}
}

// TestCheckFinds: what would fail is found, and each exit code says what kind of mistake it is.
func TestCheckFinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	open := filepath.Join(w.Folder(), "open")
	if err := os.WriteFile(open, []byte("me 00112233445566778899aabbccddeeff\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	taken := w.socket("client1", "0.0.0.0:40000")
	defer taken.Close()
	client := checkCommand(w.clientCommand("client1"))
	w.wantExit(w.start("client1", client...), 0, "The server "+lab.ServerAddr+","+lab.ServerAddr2+" answers, after ")
	w.wantExit(w.start("client1", append([]string{"setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--inh-caps=-all"}, client...)...), 1,
		"No permission to use control socket", "Cannot create the interface teredo: run as root")
	for want, flags := range map[string][]string{
		"UDP port 40000 of 0.0.0.0 is in use by another program": {"--port", "40000"},
		"No interface of this host has address 192.0.2.77":       {"--bind", "192.0.2.77"},
		"users other than its owner can read or change it":       {"--secret-file", open},
		"There is no group no-such-group":                        {"--control-group", "no-such-group"},
		"token file /nonexistent: no such file":                  {"--web", "127.0.0.1:9544", "--web-token-file", "/nonexistent"},
		"exists already and is no TUN interface":                 {"--tun", "uplink"},
		"Key file " + open:                                       {"--dns-update", "a.example.net", "--dns-key", open},
		"exists and is not a socket":                             {"--control", open},
		"The client would use another server than 192.0.2.99":    {"--server", "192.0.2.99"},
	} {
		code := 1
		if flags[0] == "--server" {
			code = 0
		}
		w.wantExit(w.start("client1", append(client, flags...)...), code, want)
	}
	w.wantExit(w.start("client1", append(client, "--port", "x")...), 64)
	w.wantExit(w.start("client1", append(client, "--config", open)...), 64, "configuration file "+open)
	w.wantExit(w.start("server", checkCommand(w.serverCommand(), "--control", w.control("other"))...), 1, "UDP port 3544 of 192.0.2.1 is in use by another program")
	w.wantExit(w.start("relay", checkCommand(w.relayCommand("--native-prefix", lab.ServerAddr+"=2001:db8:6::/64", "--neighbor-proxy", "none0"))...), 1, "this host has no interface none0")
}

// TestCheckProxy does the same for a proxy of an ordinary user.
func TestCheckProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	flags := []string{"--socks", socksAddr, "--forward", "udp:5353=[" + lab.NativeAddr + "]:53"}
	p := w.startProxy("client1", flags...)
	check := func(code int, want string, more ...string) {
		t.Helper()
		argv := append([]string{program("client"), "check-proxy", "--server", lab.ServerAddr, "--permit-ipv4", lab.PublicRanges}, flags...)
		w.wantExit(w.start("client1", ordinaryUser(p.folder, append(argv, more...)...)...), code, "The server "+lab.ServerAddr+" answers, after ", want)
	}
	check(0, "The running program listens at the local addresses")
	w.stop(p.Process)
	check(0, "The local addresses to listen at are free")
	taken := w.socket("client1", "127.0.0.1:5353")
	defer taken.Close()
	check(1, "127.0.0.1:5353")
	check(1, "no such file", "--proxy-password-file", "/nonexistent")
}
