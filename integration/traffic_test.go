//go:build linux

package integration

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// hostTraffic is the history of a host's traffic, as /api/v1/traffic tells it.
type hostTraffic struct {
	Today day   `json:"today"`
	Days  []day `json:"days"`
}

type day struct {
	Date   string `json:"date"`
	IPv4   int64  `json:"ipv4_bytes"`
	IPv6   int64  `json:"ipv6_bytes"`
	Teredo int64  `json:"teredo_bytes"`
}

// TestHostTraffic has a confined client keep the history of its host's traffic. What goes over the loopback interface does not count.
// Teredo's packets count as Teredo, and neither as IPv6 nor as IPv4, whether the program or the kernel carries them. The history is
// there again after a restart.
func TestHostTraffic(t *testing.T) {
	t.Parallel()
	const pings, size = 200, 1000 // of each kind; each ping and each answer has an IP packet of that size
	const each = 2 * pings * size
	for _, mode := range []string{"off", "on"} {
		t.Run("kernel path "+mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.record()
			w.startServer(ours)
			relay := w.startRelay(ours, "--kernel-path="+mode)
			w.run("client1", "ip", "addr", "add", "fd00:1::2/64", "dev", "uplink", "nodad")
			w.run("nat1", "ip", "addr", "add", "fd00:1::1/64", "dev", "client1", "nodad")
			flags := []string{"--web", "127.0.0.1:9544", "--kernel-path=" + mode}
			client, _ := w.startClient("client1", ours, flags...)
			native := netip.MustParseAddr(lab.NativeAddr)
			if mode == "on" {
				w.untilCarried("client1", native, programs{"client1": client, "relay": relay})
			} else {
				w.ping("client1", native)
			}
			if got, want := w.confined("client1"), "capabilities, no_new_privs, landlock, seccomp"; got != want {
				t.Errorf("the client is confined by %q, want %q", got, want)
			}
			before := w.hostTraffic()
			for _, to := range []string{lab.NAT1Addr, "fd00:1::1", lab.NativeAddr, "127.0.0.1", "::1"} {
				payload := "972" // without the headers of IPv4 and ICMP
				if strings.Contains(to, ":") {
					payload = "952"
				}
				w.run("client1", "ping", "-q", "-i", "0.002", "-c", "200", "-s", payload, to)
			}
			after := w.hostTraffic()
			t.Logf("before %+v, after %+v", before, after)
			for kind, got := range map[string]int64{"IPv4": after.IPv4 - before.IPv4, "IPv6": after.IPv6 - before.IPv6, "Teredo": after.Teredo - before.Teredo} {
				// The rest is for a lost ping, and for what else is sent meanwhile: bubbles, neighbor discovery.
				if got < each-each/20 || got > each+each/20 {
					t.Errorf("%s has %d bytes more, want %d", kind, got, each)
				}
			}
			if out, err := w.Host("client1").Run(startTimeout, program("client"), "status", "--control", w.control("client1")); err != nil ||
				!strings.Contains(out, "today: ") || !strings.Contains(out, " % Teredo (30 days: ") {
				t.Errorf("status: %s, %v", out, err)
			}
			w.stop(client)
			if log := client.Log(); strings.Contains(log, "traffic") {
				t.Errorf("the client complains: %s", log)
			}
			if _, err := os.Stat(filepath.Join(w.Folder(), "client1.traffic")); err != nil {
				t.Error(err)
			}
			w.startClient("client1", ours, flags...)
			if again := w.hostTraffic(); again.Teredo < after.Teredo || again.Teredo > after.Teredo+each/20 ||
				again.IPv4 < after.IPv4 || again.IPv4 > after.IPv4+each/20 || again.IPv6 < after.IPv6 || again.IPv6 > after.IPv6+each/20 {
				t.Errorf("after a restart %+v, before it %+v", again, after)
			}
		})
	}
}

// hostTraffic is the sum of all days that the client at client1 tells of.
func (w *world) hostTraffic() (sum day) {
	w.t.Helper()
	out, err := w.Host("client1").Run(startTimeout, "curl", "-sSf", "http://127.0.0.1:9544/api/v1/traffic")
	if err != nil {
		w.t.Fatal(err)
	}
	var h hostTraffic
	if err := json.Unmarshal([]byte(out), &h); err != nil || len(h.Days) == 0 || h.Days[len(h.Days)-1] != h.Today {
		w.t.Fatalf("%s: %v", out, err)
	}
	for _, d := range h.Days {
		sum.IPv4 += d.IPv4
		sum.IPv6 += d.IPv6
		sum.Teredo += d.Teredo
	}
	return sum
}
