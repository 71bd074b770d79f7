//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// implementation is whose program plays a role.
type implementation string

const (
	ours   implementation = "ours"
	miredo implementation = "miredo"
)

// relayPort is the UDP port of relays, ours by default.
const relayPort = 3545

// startServer starts a server and waits until it listens.
func (w *world) startServer(who implementation, flags ...string) *lab.Process {
	w.t.Helper()
	argv := w.serverCommand(flags...)
	if who == miredo {
		argv = w.miredo("miredo-server", "server", "ServerBindAddress "+lab.ServerAddr)
	}
	p := w.start("server", argv...)
	w.until(p, startTimeout, "the server to listen", func() error { return w.listens("server", teredo.Port) })
	return p
}

// startRelay starts a relay and waits until it routes. Flags are for ours.
func (w *world) startRelay(who implementation, flags ...string) *lab.Process {
	w.t.Helper()
	argv := w.relayCommand(flags...)
	if who == miredo {
		argv = w.miredo("miredo", "relay",
			"RelayType relay", "InterfaceName "+tun, "BindAddress "+lab.RelayAddr, fmt.Sprint("BindPort ", relayPort))
	}
	p := w.start("relay", argv...)
	w.untilRelays(p)
	return p
}

// untilRelays waits until a relay routes.
func (w *world) untilRelays(p *lab.Process) {
	w.t.Helper()
	w.until(p, startTimeout, "the relay to listen", func() error { return w.listens("relay", relayPort) })
	w.until(p, startTimeout, "the relay's route", func() error {
		routes, err := w.Host("relay").Run(startTimeout, "ip", "-6", "route", "show", "2001::/32")
		if err == nil && !strings.Contains(routes, "dev "+tun) {
			err = fmt.Errorf("routes: %q", routes)
		}
		return err
	})
}

// startOurs starts our server, our relay and our client on client1, and returns its Teredo address.
func (w *world) startOurs() netip.Addr {
	w.t.Helper()
	addr, _ := w.startCarriers()
	return addr
}

// startClient starts a client, waits until it carries packets, and returns its Teredo address. Flags are for ours.
func (w *world) startClient(host string, who implementation, flags ...string) (*lab.Process, netip.Addr) {
	w.t.Helper()
	argv := w.clientCommand(host, flags...)
	if who == miredo {
		argv = w.miredo("miredo", host,
			"RelayType client", "InterfaceName "+tun, "ServerAddress "+lab.ServerAddr)
	}
	p := w.start(host, argv...)
	w.until(p, startTimeout, host+" to be qualified", func() error {
		if who == miredo {
			return w.routed(host)
		}
		s, err := w.status(host)
		if err == nil && s.State != "qualified" {
			err = fmt.Errorf("status: %+v", s)
		}
		return err
	})
	addr, has := w.teredoAddr(host)
	if !has {
		w.t.Fatalf("%s is qualified and has no Teredo address", host)
	}
	return p, addr
}

// routed returns nil when the kernel takes packets to the host's Teredo address and has a route for those from it.
// Miredo does not tell when that is so. The kernel shows an address a moment before.
func (w *world) routed(host string) error {
	addr, has := w.teredoAddr(host)
	if !has {
		return errors.New("no Teredo address")
	}
	for destination, want := range map[string]string{addr.String(): "local", lab.NativeAddr: "dev " + tun} {
		route, err := w.Host(host).Run(startTimeout, "ip", "-6", "route", "get", destination)
		if err == nil && !strings.Contains(route, want) {
			err = fmt.Errorf("route: %s", route)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// serverCommand is the command line of our server.
func (w *world) serverCommand(more ...string) []string {
	return append([]string{program("server"), "run", "--bind", lab.ServerAddr, "--bind2", lab.ServerAddr2,
		"--permit-ipv4", lab.PublicRanges, "--control", w.control("server")}, more...)
}

// relayCommand is the command line of our relay.
func (w *world) relayCommand(more ...string) []string {
	return append([]string{program("relay"), "run", "--bind", lab.RelayAddr, "--tun", tun,
		"--permit-ipv4", lab.PublicRanges, "--control", w.control("relay")}, more...)
}

// clientCommand is the command line of our client on a host.
func (w *world) clientCommand(host string, more ...string) []string {
	return append([]string{program("client"), "run", "--server", lab.ServerAddr, "--server2", lab.ServerAddr2, "--tun", tun,
		"--permit-ipv4", lab.PublicRanges, "--control", w.control(host)}, more...)
}

// miredo writes a configuration and returns the command line that uses it.
func (w *world) miredo(command, name string, config ...string) []string {
	w.t.Helper()
	file := filepath.Join(w.Folder(), name+".conf")
	if err := os.WriteFile(file, []byte(strings.Join(config, "\n")+"\n"), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return []string{command, "-f", "-u", "nobody", "-c", file, "-p", filepath.Join(w.Folder(), name+".pid")}
}

// stop ends a program, which must end by itself.
func (w *world) stop(p *lab.Process) {
	w.t.Helper()
	if _, err := p.Stop(exitTimeout); err != nil {
		w.t.Fatal(err)
	}
}

// listens returns nil when a UDP socket on the host is bound to a port.
func (w *world) listens(host string, port uint16) error {
	var sockets []byte
	err := w.Host(host).Do(func() (err error) {
		sockets, err = os.ReadFile("/proc/thread-self/net/udp")
		return err
	})
	if err == nil && !strings.Contains(string(sockets), fmt.Sprintf(":%04X ", port)) {
		err = fmt.Errorf("no socket on port %d", port)
	}
	return err
}

// control is the path of a host's control socket.
func (w *world) control(host string) string { return filepath.Join(w.Folder(), host+".sock") }

// query runs the status or peers command of our program on a host. It may end with another exit code than 0 and an answer.
func (w *world) query(host, role, what string) string {
	out, err := w.Host(host).Run(startTimeout, program(role), what, "--json", "--control", w.control(host))
	if err != nil && out == "" {
		return err.Error()
	}
	return out
}

// clientStatus is what tests read of a client's status.
type clientStatus struct {
	State       string `json:"state"`
	Address     string `json:"address"`
	Native      string `json:"native_address"`
	Local       string `json:"local"`
	Mapped      string `json:"mapped"`
	Server      string `json:"server"`
	NAT         string `json:"nat"`
	Hairpinning string `json:"hairpinning"`
	LastError   string `json:"last_error"`
}

// status reads the status of our client on a host.
func (w *world) status(host string) (clientStatus, error) {
	var s clientStatus
	out := w.query(host, "client", "status")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return s, errors.New(out)
	}
	return s, nil
}

// untilStatus waits until the status of our client fulfils want, and returns that status.
func (w *world) untilStatus(timeout time.Duration, host, what string, want func(clientStatus) bool) clientStatus {
	w.t.Helper()
	var s clientStatus
	check := func() (err error) {
		if s, err = w.status(host); err == nil && !want(s) {
			err = fmt.Errorf("status: %+v", s)
		}
		return err
	}
	if err := lab.Until(timeout, what, check); err != nil {
		w.t.Fatal(err)
	}
	return s
}
