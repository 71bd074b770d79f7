//go:build linux

package integration

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestMachineNetworkd is a host with systemd-networkd, a packet filter that drops by default, and every feature of the client on.
func TestMachineNetworkd(t *testing.T) {
	const page = "127.0.0.1:9544"
	m := newMachineWorld(t, "trixie", "virtio-net-pci", "systemd-networkd", "new", `kernel-path = "on"`, `web = "`+page+`"`,
		`pprof = "127.0.0.1:6060"`, `refresh-interval = "auto"`, `on-change = 'echo "$TEREDO_STATE" >>/var/lib/teredo-client/changes'`)
	m.w.startGateway("upnp")
	m.startNetwork()
	m.write("/etc/nftables.conf", "flush ruleset\n"+strings.Join(documentedRules(t), "\n"))
	m.sh("systemctl enable --now nftables.service")
	if rules := m.sh("nft list ruleset"); strings.Count(rules, "policy drop") != 2 {
		t.Fatalf("the rules are %q", rules)
	}
	capture := m.captureCard()
	m.enable()
	address := m.untilQualified()
	m.sh("systemctl restart systemd-networkd && networkctl reload && /usr/lib/systemd/systemd-networkd-wait-online --interface=" + m.sh("ls /sys/class/net | grep ^e"))
	if state := m.sh("networkctl status teredo"); !strings.Contains(state, "unmanaged") {
		t.Errorf("systemd-networkd's state of the interface is %q", state)
	}
	m.works(address)
	m.carries()
	s := m.untilStatus("a port mapping", func(s machineStatus) bool { return strings.HasPrefix(s.PortMapping, "upnp "+upnpAddr) })
	if !s.Offloads.KernelPath || !strings.Contains(s.Confined, "landlock") || !strings.Contains(s.Confined, "seccomp") {
		t.Errorf("status: %+v", s)
	}
	for _, path := range []string{"/", "/metrics", "/readyz", "/api/v1/status"} {
		m.sh("curl --fail --silent --show-error --output /dev/null http://" + page + path)
	}
	m.sh("curl --fail --silent --show-error --output /dev/null http://127.0.0.1:6060/debug/pprof/heap")
	m.sh("grep -q qualified /var/lib/teredo-client/changes")
	m.judge(capture)
	m.works(address)
	t.Log(m.sh("systemd-analyze security --no-pager --threshold=20 teredo-client.service | tail -n 1"))
	m.sh("systemd-analyze security --no-pager --threshold=20 teredo-client.service >/dev/null")
	// A client that stops gives the gateway one second to answer. What is left then, the next run removes.
	if err := m.Until(bootTimeout, "the end of the port mapping", func() error {
		m.sh("systemctl stop teredo-client.service")
		err := m.w.mapped()
		if err != nil {
			m.sh("systemctl start teredo-client.service && teredo-client status --wait=9m")
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// documentedRules are the packet filters that docs/firewall.md shows.
func documentedRules(t *testing.T) (rules []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/firewall.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```\n(table .*?)```\n").FindAllStringSubmatch(string(text), -1) {
		rules = append(rules, block[1])
	}
	if len(rules) != 2 {
		t.Fatalf("%d packet filters in the documentation", len(rules))
	}
	return rules
}

// TestMachineBookworm has Debian 12, whose Linux 6.1 lacks TCX: everything works but the kernel path, and the log says why.
func TestMachineBookworm(t *testing.T) {
	m := newMachineWorld(t, "bookworm", "e1000", "NetworkManager", "new", `web = "127.0.0.1:9544"`)
	m.w.startGateway("pcp")
	m.startNetwork()
	capture := m.captureCard()
	m.enable()
	address := m.untilQualified()
	m.works(address)
	m.carries()
	s := m.untilStatus("a port mapping", func(s machineStatus) bool { return strings.HasPrefix(s.PortMapping, "pcp "+upnpAddr) })
	if s.Offloads != (kernelOffloads{}) || s.Confined == "" {
		t.Errorf("status: %+v", s)
	}
	m.sh("curl --fail --silent --show-error --output /dev/null http://127.0.0.1:9544/metrics")
	m.judge(capture)
	const sentence = "the kernel path needs Linux 6.6 or later"
	if log := m.sh("journalctl --no-pager -b -u teredo-client"); !strings.Contains(log, sentence) {
		t.Errorf("the log does not say %q: %s", sentence, log)
	}
	m.purge()
}
