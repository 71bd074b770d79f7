//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// serverStatus is what these tests need of a server's status.
type serverStatus struct {
	Offloads struct {
		KernelPath bool              `json:"kernel_path"`
		Interfaces map[string]string `json:"kernel_interfaces"`
	} `json:"offloads"`
	Counters struct {
		Advertisements uint64            `json:"advertisements"`
		InKernel       uint64            `json:"advertisements_kernel"`
		Bubbles        uint64            `json:"bubbles_forwarded"`
		KernelBubbles  uint64            `json:"bubbles_forwarded_kernel"`
		Drops          map[string]uint64 `json:"drops"`
	} `json:"counters"`
	Confined string `json:"confined"`
}

func (w *world) serverStatus() (s serverStatus) {
	w.t.Helper()
	answer := w.query("server", "server", "status")
	if err := json.Unmarshal([]byte(answer), &s); err != nil {
		w.t.Fatal(answer)
	}
	return s
}

// TestServerKernel stops the server: clients qualify and find each other, as the kernel answers. The status counts it.
func TestServerKernel(t *testing.T) {
	t.Parallel()
	for _, checksums := range []string{"finished", "unfinished"} {
		t.Run(checksums, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.record()
			if checksums == "finished" { // senders fill in their checksums, as before physical links
				for _, host := range []string{"client1", "client2"} {
					w.run(host, "ethtool", "-K", "uplink", "tx", "off")
				}
			}
			server := w.startServer(ours, "--kernel-path=on")
			w.untilState("server", "running")
			if s := w.serverStatus(); !s.Offloads.KernelPath || !maps.Equal(s.Offloads.Interfaces, map[string]string{"uplink": "tcx"}) {
				t.Fatalf("%+v", s.Offloads)
			}
			w.stopped(programs{"server": server}, func() {
				_, addr1 := w.startClient("client1", ours)
				_, addr2 := w.startClient("client2", ours)
				w.ping("client1", addr2)
				w.ping("client2", addr1)
			})
			s := w.serverStatus()
			if c := s.Counters; c.InKernel < 2 || c.Advertisements < c.InKernel || c.KernelBubbles == 0 || c.Bubbles < c.KernelBubbles || len(c.Drops) > 0 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestServerKernelSigns stops a server with secrets: a client qualifies, as the kernel signs. Once the client's secret has been taken out of the
// file, nobody answers (S-RS-06).
func TestServerKernelSigns(t *testing.T) {
	t.Parallel()
	const laptop, office = "laptop hex:6f1d0a55c3f04ab1b6d1e9d7a2c84e30\n", "office hex:00112233445566778899aabbccddeeff\n"
	qualified := func(s clientStatus) bool { return s.State == "qualified" }
	w := newWorld(t, lab.PortRestricted)
	w.record()
	server := w.start("server", w.serverCommand("--kernel-path=on", "--secret-file", w.secret("server", laptop+office))...)
	w.untilState("server", "running")
	var client *lab.Process
	w.stopped(programs{"server": server}, func() { client, _ = w.startClient("client1", ours, "--secret-file", w.secret("client", laptop)) })
	if c := w.serverStatus().Counters; c.InKernel == 0 || c.Advertisements < c.InKernel || len(c.Drops) > 0 {
		t.Errorf("%+v", c)
	}

	w.secret("server", office)
	w.hangup(server)
	w.hangup(client)
	w.wantRefused("another secret")
	if c := w.serverStatus().Counters; c.Drops["unauthenticated"] == 0 {
		t.Errorf("%+v", c)
	}

	w.secret("server", laptop)
	w.hangup(server)
	w.stopped(programs{"server": server}, func() {
		w.hangup(client)
		w.untilStatus(startTimeout, "client1", "qualified with the secret that is back", qualified)
	})
}

// TestServerKernelOff has the program answer everything when that is asked for, or when the privilege is missing.
func TestServerKernelOff(t *testing.T) {
	t.Parallel()
	privilegeless := []string{"setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin", "--"}
	for name, command := range map[string]func(w *world) []string{
		"off":       func(w *world) []string { return w.serverCommand("--kernel-path=off") },
		"privilege": func(w *world) []string { return slices.Concat(privilegeless, w.serverCommand("--kernel-path=auto")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.start("server", command(w)...)
			w.untilState("server", "running")
			w.startClient("client1", ours)
			if s := w.serverStatus(); s.Offloads.KernelPath || s.Counters.InKernel > 0 || s.Counters.Advertisements == 0 {
				t.Errorf("%+v", s)
			}
		})
	}
	w := newWorld(t, lab.PortRestricted)
	w.wantExit(w.start("server", slices.Concat(privilegeless, w.serverCommand("--kernel-path=on"))...), 1,
		"CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "--kernel-path=auto")
}

// TestServerKernelFollows moves the server's addresses to an interface that did not exist when the server confined itself. The rules leave the
// kernel with a killed server.
func TestServerKernelFollows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	server := w.startServer(ours, "--kernel-path=on")
	w.untilState("server", "running")
	w.run("server", "sh", "-c", "ip link add bridge type bridge && ip link set bridge up && ip link set uplink master bridge && "+
		"ip addr flush dev uplink && ip addr add "+lab.ServerAddr+"/24 dev bridge && ip addr add "+lab.ServerAddr2+"/24 dev bridge && "+
		"ip route add default via 192.0.2.254")
	w.until(server, startTimeout, "the kernel to answer at the new interface", func() error {
		if s := w.serverStatus(); !maps.Equal(s.Offloads.Interfaces, map[string]string{"bridge": "tcx"}) {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	w.stopped(programs{"server": server}, func() { w.startClient("client1", ours) })
	server.Kill()
	left, err := w.Host("server").Run(startTimeout, "ip", "-details", "link", "show", "bridge")
	if err != nil || strings.Contains(left, "xdp") {
		t.Error(left, err)
	}
}
