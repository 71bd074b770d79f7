//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// TestOneProgram runs server and relay as one program on a host with one IPv4 address and an on-link /64. No route leads to 2001::/32. Its
// clients reach native hosts, and are reached by them.
func TestOneProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	w.run("inet", "ip", "-6", "route", "del", "2001::/32")
	w.run("relay", "sysctl", "-w", "net.ipv6.conf.all.forwarding=0")
	argv := []string{program("server"), "run", "--bind", lab.RelayAddr, "--native-prefix", onLink, "--permit-ipv4", lab.PublicRanges,
		"--control", w.control("relay")}
	w.wantExit(w.start("relay", append(argv, "--forwarding")...), 64, "add --relay")
	w.wantExit(w.start("relay", append(argv, "--relay")...), 64, "use --neighbor-proxy uplink")
	p := w.start("relay", append(argv, "--relay", "--forwarding", "--neighbor-proxy", "uplink", "--web", "127.0.0.1:9545")...)
	var status struct {
		State, Confined string
		Relay           struct {
			State    string
			Peers    int
			Natives  []string               `json:"native_prefixes"`
			Neighbor struct{ Answered int } `json:"neighbor_proxy"`
		}
	}
	read := func() error {
		out := w.query("relay", "server", "status")
		if err := json.Unmarshal([]byte(out), &status); err != nil || status.State != "running" {
			return errors.New(out)
		}
		return nil
	}
	w.until(p, startTimeout, "server and relay to run", read)

	prefix, err := teredo.NewNativePrefix(netip.MustParseAddr(lab.RelayAddr), netip.MustParsePrefix(onLink))
	if err != nil {
		t.Fatal(err)
	}
	native := netip.MustParseAddr(lab.NativeAddr)
	for _, host := range []string{"client1", "client2"} {
		client := w.start(host, program("client"), "run", "--server", lab.RelayAddr, "--tun", tun,
			"--permit-ipv4", lab.PublicRanges, "--control", w.control(host))
		var addr netip.Addr
		w.until(client, startTimeout, host+" to have a Teredo address", func() (err error) {
			var ok bool
			if addr, ok = w.teredoAddr(host); !ok {
				err = errors.New("it has none")
			}
			return err
		})
		if host == "client1" {
			w.ping(host, native)
		}
		to, _ := teredo.NativePrefixes{prefix}.Native(addr)
		w.ping("native", to)
	}

	if err := read(); err != nil {
		t.Fatal(err)
	}
	if status.Relay.State != "running" || status.Relay.Peers != 2 || len(status.Relay.Natives) != 1 || status.Relay.Neighbor.Answered < 2 ||
		status.Confined != "capabilities, no_new_privs, landlock, seccomp" {
		t.Errorf("status %+v", status)
	}
	if out := w.query("relay", "server", "peers"); !strings.Contains(out, "203.0.113.1:") || !strings.Contains(out, "203.0.113.129:") {
		t.Errorf("peers %s", out)
	}
	metrics, err := w.Host("relay").Run(startTimeout, "curl", "-sSf", "http://127.0.0.1:9545/metrics")
	if err != nil {
		t.Fatal(err)
	}
	w.checkMetrics("server with a relay", metrics)
	for _, name := range []string{
		`teredo_server_solicitations_total `, `teredo_server_forwarded_total{packet="echo",to="native"} `,
		`teredo_relay_path_received_packets_total{path="direct"} `, `teredo_relay_peers_capacity `,
	} {
		if _, value, ok := strings.Cut(metrics, "\n"+name); !ok || strings.HasPrefix(value, "0\n") {
			t.Errorf("%sis not greater than zero: %s", name, metrics)
		}
	}
	b := w.browse("relay", "http://127.0.0.1:9545/")
	for _, part := range []string{"Qualification", "Traffic by path", "List of peers: 2 of"} {
		b.until(part, fmt.Sprintf("document.body.innerText.includes(%q)", part))
	}
	b.until("the relay in the picture", "document.querySelector('#map svg').getAttribute('aria-label').includes('Its relay 2 peers')")
	b.wantNoFaults()
	file := filepath.Join(w.Folder(), "r.tar.gz")
	w.wantExit(w.start("relay", program("server"), "bugreport", "--control", w.control("relay"), "-o", file), 0, "peers.json")
	if text := unpack(t, file)["peers.json"]; !strings.Contains(text, "203.0.113.1:") {
		t.Errorf("peers in a bug report: %s", text)
	}
	w.stop(p)
	if out, err := w.Host("relay").Run(startTimeout, "ip", "-6", "route"); err != nil || strings.Contains(out, "dev "+tun) {
		t.Errorf("routes that are left: %s%v", out, err)
	}
	if out, err := w.Host("relay").Run(startTimeout, "sysctl", "-n", "net.ipv6.conf.all.forwarding"); err != nil || strings.TrimSpace(out) != "0" {
		t.Errorf("forwarding is %q, %v", out, err)
	}
}

// TestForwardingWithAdvertisements refuses to take a host's default route away, which the kernel does with one from router advertisements
// when it begins to forward, and says how to keep it.
func TestForwardingWithAdvertisements(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.run("relay", "sysctl", "-w", "net.ipv6.conf.all.forwarding=0", "net.ipv6.conf.uplink.accept_ra=1")
	w.run("relay", "ip", "-6", "route", "replace", "default", "via", gateway, "dev", "uplink", "proto", "ra")
	w.wantExit(w.start("relay", w.relayCommand("--forwarding")...), 64, "net.ipv6.conf.uplink.accept_ra=2")
	w.run("relay", "sysctl", "-w", "net.ipv6.conf.uplink.accept_ra=2")
	w.startRelay(ours, "--forwarding")
}
