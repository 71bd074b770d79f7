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

// probeReport is what these tests read of a probe's report.
type probeReport struct {
	Servers []struct {
		Works  bool    `json:"works"`
		Works2 bool    `json:"address2_works"`
		RTT    float64 `json:"rtt_ms"`
		Best   bool    `json:"best"`
	} `json:"servers"`
	Best   string   `json:"best"`
	Local  string   `json:"local_address"`
	Mapped []string `json:"mapped_addresses"`
	NAT    probeNAT `json:"nat"`
}

type probeNAT struct {
	Kind        string `json:"kind"`
	Mapping     string `json:"mapping"`
	Filtering   string `json:"filtering"`
	Ports       string `json:"ports"`
	Hairpinning string `json:"hairpinning"`
	PortMapping string `json:"port_mapping"`
}

// probeCommand is the command line of a probe by a user without any privilege.
func (w *world) probeCommand(args ...string) []string {
	w.t.Helper()
	if err := os.Chmod(filepath.Dir(program("client")), 0o755); err != nil {
		w.t.Fatal(err)
	}
	nobody := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs", "--"}
	return append(append(nobody, program("client"), "probe", "--permit-ipv4", lab.PublicRanges), args...)
}

// probe runs a probe on client1 that finds a server, and returns its report.
func (w *world) probe(args ...string) (r probeReport) {
	w.t.Helper()
	out, err := w.Host("client1").Run(startTimeout, w.probeCommand(append(args, "--json")...)...)
	if err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return r
}

// TestProbe lets an ordinary user find out what the kernel's NATs do (C-QUAL-07, X-SNS-01, X-PP-02).
func TestProbe(t *testing.T) {
	for nat, want := range map[lab.NAT]probeNAT{
		lab.PortRestricted: {"port-restricted", "endpoint-independent", "address-or-port-dependent", "preserved", "no", "none"},
		lab.FullCone:       {"cone", "endpoint-independent", "endpoint-independent", "preserved", "no", "none"},
		lab.Symmetric:      {"port-symmetric", "symmetric", "address-or-port-dependent", "random", "unknown", "none"},
	} {
		for _, server := range []implementation{ours, miredo} {
			t.Run(string(nat)+"/"+string(server), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, nat)
				w.record()
				w.startServer(server)
				name := lab.ServerAddr
				if server == miredo {
					name += "," + lab.ServerAddr2
				}
				r := w.probe(name)
				if s := r.Servers[0]; !s.Works || !s.Works2 || !s.Best || s.RTT <= 0 || r.Best != name {
					t.Errorf("server %+v, best %q", s, r.Best)
				}
				if r.NAT != want {
					t.Errorf("NAT %+v, want %+v", r.NAT, want)
				}
				if len(r.Mapped) != 1 || r.Mapped[0] != lab.NAT1Addr || r.Local != "192.168.1.2" {
					t.Errorf("local address %q, mapped %q", r.Local, r.Mapped)
				}
			})
		}
	}
}

// TestProbeWithoutNAT probes from a host with a public address.
func TestProbeWithoutNAT(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	out, err := w.Host("relay").Run(startTimeout, w.probeCommand(lab.ServerAddr)...)
	if err != nil || !strings.Contains(out, "NAT             none\n") || strings.Contains(out, "port mapping ") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestProbePortMapping has Debian's miniupnpd map a port, and take the mapping away again.
func TestProbePortMapping(t *testing.T) {
	for _, protocol := range []string{"upnp", "pcp"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.record()
			w.startServer(ours)
			w.startGateway(protocol)
			r := w.probe(lab.ServerAddr)
			if r.NAT.PortMapping != protocol || r.NAT.Kind != "upnp-port-restricted" || r.Mapped[0] != upnpAddr {
				t.Errorf("NAT %+v, mapped %q", r.NAT, r.Mapped)
			}
			if err := w.mapped(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestProbeExitCodes: 0 was seen above.
func TestProbeExitCodes(t *testing.T) {
	for name, tt := range map[string]struct {
		args  string
		code  int
		texts []string
	}{
		"no server":      {"", 64, []string{"no server is given"}},
		"private server": {"10.0.0.1", 64, []string{"10.0.0.1", "--permit-ipv4"}},
		"no such flag":   {"192.0.2.1 --no-such-flag", 64, []string{"--no-such-flag"}},
		"bad timeout":    {"192.0.2.1 --timeout 1h", 64, []string{"--timeout 1h"}},
		"silent server":  {"192.0.2.1 --timeout 1s", 1, []string{"192.0.2.1 does not answer", "no server works"}},
		"no route":       {"192.0.2.1 --bind 127.0.0.1 --timeout 1s", 1, []string{"cannot send to 192.0.2.1"}},
		"bad bind":       {"192.0.2.1 --bind 192.0.2.77", 1, []string{"192.0.2.77"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			argv := w.probeCommand(append(strings.Fields(tt.args), "--control", w.control("client1"))...)
			w.wantExit(w.start("client1", argv...), tt.code, tt.texts...)
		})
	}
}
