//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/integration/population"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	tun      = "teredo" // the interface of every program
	patience = 30 * time.Second

	// permitted are the documentation ranges of the lab and the range of the population, for --permit-ipv4.
	permitted = lab.PublicRanges + "," + population.Range
)

// scene is a lab in which the programs of one implementation run.
type scene struct {
	*lab.Lab
	bin    string
	who    implementation
	native netip.Addr
	single bool // the server has one address

	secrets string // the file of the clients' secrets; empty: there are none
	divided bool   // see divideProcessors

	translates bool // server and relay of ours have a native prefix; the relay's host masquerades for Miredo
}

func newScene(bin string, who implementation) (*scene, error) {
	l, err := lab.New(lab.PortRestricted, lab.PortRestricted)
	if err != nil {
		return nil, err
	}
	return &scene{Lab: l, bin: bin, who: who, native: netip.MustParseAddr(lab.NativeAddr)}, nil
}

// startServer starts a server and waits until it listens.
func (s *scene) startServer() (*lab.Process, error) {
	argv := s.carrier("server", "server", s.second("--source-rate", "0", "--bind", lab.ServerAddr, "--bind2")...) // one address asks for all
	if s.secrets != "" {
		argv = append(argv, "--secret-file", s.secrets)
	}
	if s.translates {
		argv = append(argv, "--native-prefix", nativePrefix)
	}
	if s.who == miredo && !s.single { // Miredo's has to have two
		var err error
		if argv, err = s.miredo("miredo-server", "server", "ServerBindAddress "+lab.ServerAddr); err != nil {
			return nil, err
		}
	}
	if s.divided { // the first processor is the generator's
		argv = append([]string{"taskset", "--cpu-list", fmt.Sprintf("1-%d", runtime.NumCPU()-1)}, argv...)
	}
	return s.start("server", argv, "the server to listen", func() error { return s.listens("server", teredo.Port) })
}

// startRelay starts a relay and waits until it routes.
func (s *scene) startRelay() (*lab.Process, error) {
	argv := s.carrier("relay", "relay", "--bind", lab.RelayAddr)
	if s.translates {
		argv = append(argv, "--native-prefix", lab.ServerAddr+"="+nativePrefix)
	}
	if s.who == miredo {
		var err error
		if argv, err = s.miredo("miredo", "relay",
			"RelayType relay", "InterfaceName "+tun, "BindAddress "+lab.RelayAddr, "BindPort 3545"); err != nil {
			return nil, err
		}
	}
	return s.start("relay", argv, "the relay's route", func() error {
		routes, err := s.Host("relay").Run(patience, "ip", "-6", "route", "show", "2001::/32")
		if err == nil && !strings.Contains(routes, "dev "+tun) {
			err = fmt.Errorf("routes: %q", routes)
		}
		return err
	})
}

// startClient starts a client and waits until it has a Teredo address.
func (s *scene) startClient(host string) (p *lab.Process, addr netip.Addr, err error) {
	argv, err := s.clientCommand(host)
	if err != nil {
		return nil, addr, err
	}
	p, err = s.start(host, argv, host+" to have a Teredo address", func() error {
		addrs, err := s.Host(host).Addrs(tun)
		for _, a := range addrs {
			if teredo.IsTeredo(a) {
				addr = a
				return nil
			}
		}
		return errors.Join(errors.New("it has none"), err)
	})
	return p, addr, err
}

// clientCommand is the command line of a client.
func (s *scene) clientCommand(host string) ([]string, error) {
	if s.who == miredo {
		return s.miredo("miredo", host, "RelayType client", "InterfaceName "+tun, "ServerAddress "+lab.ServerAddr)
	}
	return s.carrier(host, "client", s.second("--server", lab.ServerAddr, "--server2")...), nil
}

// second adds the server's second address to a command line that ends with the flag for it, if it has one.
func (s *scene) second(args ...string) []string {
	if s.single {
		return args[:len(args)-1]
	}
	return append(args, lab.ServerAddr2)
}

func (s *scene) start(host string, argv []string, what string, check func() error) (*lab.Process, error) {
	p, err := s.Host(host).Start(argv...)
	if err != nil {
		return nil, err
	}
	return p, p.Until(patience, what, check)
}

// carrier is the command line of our client or our relay. They use the kernel path by themselves; here they don't start where
// they cannot.
func (s *scene) carrier(host, role string, args ...string) []string {
	mode := "on"
	if s.who == workers {
		mode = "off"
	}
	return s.ours(host, role, append(args, "--kernel-path="+mode)...)
}

// ours is the command line of one of our programs.
func (s *scene) ours(host, role string, args ...string) []string {
	return append([]string{filepath.Join(s.bin, "teredo-"+role), "run",
		"--permit-ipv4", permitted, "--control", s.control(host)}, args...)
}

// miredo writes a configuration and returns the command line that uses it.
func (s *scene) miredo(command, name string, config ...string) ([]string, error) {
	file := filepath.Join(s.Folder(), name+".conf")
	err := os.WriteFile(file, []byte(strings.Join(config, "\n")+"\n"), 0o644)
	return []string{command, "-f", "-u", "nobody", "-c", file, "-p", filepath.Join(s.Folder(), name+".pid")}, err
}

// control is the path of a host's control socket.
func (s *scene) control(host string) string { return filepath.Join(s.Folder(), host+".sock") }

// status reads the status of one of our programs.
func (s *scene) status(host, role string, into any) error {
	out, err := s.Host(host).Run(patience, filepath.Join(s.bin, "teredo-"+role), "status", "--json", "--control", s.control(host))
	if err != nil && out == "" { // a client that is off-line answers, and the command ends with exit code 3
		return err
	}
	return json.Unmarshal([]byte(out), into)
}

// listens returns nil when a UDP socket on the host is bound to a port.
func (s *scene) listens(host string, port uint16) error {
	var sockets []byte
	err := s.Host(host).Do(func() (err error) {
		sockets, err = os.ReadFile("/proc/thread-self/net/udp")
		return err
	})
	if err == nil && !strings.Contains(string(sockets), fmt.Sprintf(":%04X ", port)) {
		err = fmt.Errorf("no socket on port %d", port)
	}
	return err
}

// reach pings until a path is found. The first packets may be lost while it is looked for.
func (s *scene) reach(from string, to netip.Addr) error {
	return lab.Until(patience, from+" to reach "+to.String(), func() error { return s.Host(from).Ping(to, 3*time.Second) })
}
