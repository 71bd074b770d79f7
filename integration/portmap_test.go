//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	// The addresses between nat1 and its router. miniupnpd maps no port of a special-use address, so this one is not; no
	// packet to it leaves the lab.
	upnpAddr   = "128.66.0.1"
	upnpRouter = "128.66.0.254"
)

// startGateway makes nat1 a gateway that maps ports on demand, by UPnP, or by PCP and NAT-PMP.
func (w *world) startGateway(protocol string) *lab.Process {
	w.t.Helper()
	w.run("inet", "ip", "address", "add", upnpRouter+"/24", "dev", "nat1")
	w.run("nat1", "ip", "address", "replace", upnpAddr+"/24", "dev", "uplink")
	w.run("nat1", "ip", "address", "delete", lab.NAT1Addr+"/25", "dev", "uplink")
	w.run("nat1", "ip", "route", "replace", "default", "via", upnpRouter)
	w.run("nat1", "nft", `table inet filter {
		chain miniupnpd {}
		chain prerouting_miniupnpd {}
		chain postrouting_miniupnpd {}
		chain forward { type filter hook forward priority filter; jump miniupnpd; }
		chain prerouting { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
		chain postrouting { type nat hook postrouting priority srcnat; jump postrouting_miniupnpd; }
	}`)
	file := filepath.Join(w.Folder(), "miniupnpd.conf")
	config := "ext_ifname=uplink\nlistening_ip=client1\nsecure_mode=yes\nuuid=00000000-0000-0000-0000-000000000001\n" +
		"allow 1024-65535 192.168.1.0/24 1024-65535\n"
	port := uint16(1900)
	switch protocol {
	case "upnp":
		config += "enable_upnp=yes\nenable_natpmp=no\n"
	case "pcp":
		config += "enable_upnp=no\nenable_natpmp=yes\n"
		port = 5351
	}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		w.t.Fatal(err)
	}
	p := w.start("nat1", "miniupnpd", "-d", "-f", file, "-P", filepath.Join(w.Folder(), "miniupnpd.pid"))
	w.until(p, startTimeout, "miniupnpd to listen", func() error { return w.listens("nat1", port) })
	return p
}

// mapped returns nil when the gateway maps the given UDP ports, each to the same port of client1, and no others.
func (w *world) mapped(ports ...uint16) error {
	list, err := w.Host("nat1").Run(startTimeout, "nft", "-j", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
	if err != nil {
		return err
	}
	if n := strings.Count(list, `"rule":`); n != len(ports) {
		return fmt.Errorf("%d ports are mapped, want %v: %s", n, ports, list)
	}
	for _, port := range ports {
		if to := fmt.Sprintf(`"dnat": {"family": "ip", "addr": "192.168.1.2", "port": %d}`, port); !strings.Contains(list, to) {
			return fmt.Errorf("port %d is not mapped: %s", port, list)
		}
	}
	return nil
}

// mappingStatus is what these tests read of a client's status.
type mappingStatus struct {
	State       string         `json:"state"`
	Local       string         `json:"local"`
	Mapped      string         `json:"mapped"`
	PortMapping string         `json:"port_mapping"`
	Drops       map[string]int `json:"drops"`
}

// untilMapping waits until client1 is qualified, and its status fulfils want.
func (w *world) untilMapping(what string, want func(mappingStatus) bool) (s mappingStatus) {
	w.t.Helper()
	if err := lab.Until(retryTimeout, what, func() error {
		out := w.query("client1", "client", "status")
		s = mappingStatus{}
		if err := json.Unmarshal([]byte(out), &s); err != nil || s.State != "qualified" || !want(s) {
			return fmt.Errorf("status: %s", out)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// untilMapped waits until client1 has a mapping by the protocol, and returns its port.
func (w *world) untilMapped(protocol string) uint16 {
	w.t.Helper()
	s := w.untilMapping("a port mapping by "+protocol, func(s mappingStatus) bool { return s.PortMapping != "none" })
	_, text, _ := strings.Cut(s.Local, ":")
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		w.t.Fatal(err)
	}
	if want := fmt.Sprintf("%s %s:%d", protocol, upnpAddr, port); s.PortMapping != want {
		w.t.Errorf("port mapping %q, want %q", s.PortMapping, want)
	}
	if err := w.mapped(uint16(port)); err != nil {
		w.t.Error(err)
	}
	return uint16(port)
}

// portMapFile is the file with the mappings that may have to be removed.
func (w *world) portMapFile() string { return filepath.Join(w.Folder(), "client1.portmap") }

// TestPortMapping asks Debian's miniupnpd for a port, which strangers reach then. A signal to the client has the port
// unmapped (X-UPNP-02, X-UPNP-03, X-UPNP-09).
func TestPortMapping(t *testing.T) {
	for _, test := range []struct {
		protocol string
		nat      lab.NAT
	}{
		{"upnp", lab.PortRestricted}, {"upnp", lab.Symmetric}, {"pcp", lab.PortRestricted},
	} {
		t.Run(test.protocol+" "+string(test.nat), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.nat)
			w.startGateway(test.protocol)
			w.startServer(ours)
			client := w.start("client1", w.clientCommand("client1")...)
			port := w.untilMapped(test.protocol)
			if s := w.untilMapping("qualified", func(mappingStatus) bool { return true }); test.nat == lab.PortRestricted &&
				s.Mapped != fmt.Sprintf("%s:%d", upnpAddr, port) { // a single NAT (X-UPNP-06)
				t.Errorf("mapped %q", s.Mapped)
			}

			stranger := w.socket("relay", lab.RelayAddr+":0")
			w.untilMapping("a stranger's packet to the mapped port", func(s mappingStatus) bool {
				sendTo(t, stranger, fmt.Sprintf("%s:%d", upnpAddr, port))
				return s.Drops["malformed"] > 0
			})

			if code, err := client.Stop(exitTimeout); err != nil || code != 0 {
				t.Errorf("exit code %d, %v", code, err)
			}
			if err := w.mapped(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(w.portMapFile()); !os.IsNotExist(err) {
				t.Errorf("the file of port mappings is still there: %v", err)
			}
		})
	}
}

// TestPortMappingAfterKill checks that the mapping of a killed client is removed by the next (X-UPNP-01), and that one that
// runs without port mapping leaves the gateway alone.
func TestPortMappingAfterKill(t *testing.T) {
	for _, protocol := range []string{"upnp", "pcp"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.startGateway(protocol)
			w.startServer(ours)
			client := w.start("client1", w.clientCommand("client1")...)
			first := w.untilMapped(protocol)
			client.Kill()

			client = w.start("client1", w.clientCommand("client1", "--no-port-mapping")...)
			if s := w.untilMapping("qualified", func(mappingStatus) bool { return true }); s.PortMapping != "none" {
				t.Errorf("port mapping %q", s.PortMapping)
			}
			if err := w.mapped(first); err != nil {
				t.Errorf("after the kill: %v", err)
			}
			w.stop(client)

			client = w.start("client1", w.clientCommand("client1", "--new-address")...)
			second := w.untilMapped(protocol)
			if second == first {
				t.Errorf("port %d both times", first)
			}
			client.Kill()

			w.start("client1", w.clientCommand("client1")...) // the same port, whose mapping is there
			if third := w.untilMapped(protocol); third != second {
				t.Errorf("port %d, and %d before the kill", third, second)
			}
		})
	}
}

// TestPortMappingHangs stops the gateway's daemon in the middle of its work. The client qualifies all the same, ends
// when it is told to, and the next one tidies up.
func TestPortMappingHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	gateway := w.startGateway("upnp")
	w.startServer(ours)
	client := w.start("client1", w.clientCommand("client1")...)
	w.untilMapped("upnp")
	signal := func(s unix.Signal) {
		t.Helper()
		if err := gateway.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(unix.SIGSTOP)
	if code, err := client.Stop(exitTimeout); err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}
	if _, err := os.Stat(w.portMapFile()); err != nil {
		t.Errorf("the file of port mappings: %v", err)
	}

	client = w.start("client1", w.clientCommand("client1")...)
	w.untilMapping("qualified without the gateway", func(s mappingStatus) bool { return s.PortMapping == "none" })
	w.stop(client)

	signal(unix.SIGCONT)
	w.start("client1", w.clientCommand("client1")...)
	w.untilMapped("upnp")
}

// sendTo sends a datagram that is no Teredo packet.
func sendTo(t *testing.T, from net.PacketConn, to string) {
	t.Helper()
	addr, err := net.ResolveUDPAddr("udp4", to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.WriteTo([]byte("hello"), addr); err != nil {
		t.Fatal(err)
	}
}
