//go:build linux

package many

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	startTimeout = time.Minute // far longer than anything takes, as two cores may have much else to do
	drainIdle    = "5s"
)

// service is the whole of it in a test.
type service struct {
	*lab.Lab
	t        *testing.T
	programs map[string]*lab.Process // by host: the server, relay or client there
	flows    []*flow
	control  []*flow       // traffic of this machine that does not depend on the service
	stalled  time.Duration // the longest time that the machine has kept something from going on
}

// in is the service in a subtest.
func (s *service) in(t *testing.T) *service {
	sub := *s
	sub.t = t
	return &sub
}

func newService(t *testing.T) *service {
	t.Helper()
	lab.Need(t)
	l, err := lab.LayOut(layout())
	if err != nil {
		t.Fatal(err)
	}
	s := &service{Lab: l, t: t, programs: make(map[string]*lab.Process)}
	for _, k := range layout().Links {
		// As over a cable: a virtual link would pass packets on with an unfinished checksum, which not every receiver can finish.
		s.run(k.Host, "ethtool", "-K", "uplink", "tx", "off")
	}
	l.CloseAfter(t, s.explain)
	return s
}

// explain logs what the programs have printed.
func (s *service) explain() {
	for _, p := range s.Processes() {
		s.t.Logf("%s:\n%s", p.Name, p.Tail(20))
	}
	for n := range ours {
		s.t.Logf("peers of %s: %s", clientName(n+1), s.query(clientName(n+1), "client", "peers"))
	}
	for _, family := range []string{"-4", "-6"} {
		s.t.Logf("routes of the router: %s", s.run(router, "ip", family, "route", "show", "proto", "bird"))
	}
}

func (s *service) run(host string, argv ...string) string {
	s.t.Helper()
	out, err := s.Host(host).Run(startTimeout, argv...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *service) start(host string, argv ...string) *lab.Process {
	s.t.Helper()
	p, err := s.Host(host).Start(argv...)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *service) until(what string, check func() error) {
	s.t.Helper()
	if err := lab.Until(startTimeout, what, check); err != nil {
		s.t.Fatal(err)
	}
}

// bird starts BIRD with a configuration of contrib/bird, in which the values of some definitions are ours.
func (s *service) bird(host, file string, define map[string]string) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join("../../contrib/bird", file))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, value := range define {
		definition := regexp.MustCompile(`(?m)^define ` + name + ` = [^;]*;`)
		if n := len(definition.FindAll(text, -1)); n != 1 {
			s.t.Fatalf("%s defines %s %d times", file, name, n)
		}
		text = definition.ReplaceAll(text, fmt.Appendf(nil, "define %s = %s;", name, value))
	}
	own := filepath.Join(s.Folder(), host+".bird.conf")
	if err := os.WriteFile(own, text, 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.start(host, "bird", "-d", "-c", own, "-s", s.birdSocket(host), "-P", filepath.Join(s.Folder(), host+".bird.pid"))
}

func (s *service) birdSocket(host string) string { return filepath.Join(s.Folder(), host+".bird.sock") }

// birdc gives a command to the BIRD of a host.
func (s *service) birdc(host string, words ...string) {
	s.t.Helper()
	s.run(host, append([]string{"birdc", "-s", s.birdSocket(host)}, words...)...)
}

// startRouting starts BIRD everywhere.
func (s *service) startRouting() {
	s.t.Helper()
	s.bird(router, "router.conf", nil)
	for _, at := range allSites() {
		s.bird(at.name, "site.conf", map[string]string{
			"SITE": at.addr4(), "ROUTER4": at.routerAddr4(), "ROUTER6": at.routerAddr6(),
		})
	}
}

func (s *service) socket(host string) string { return filepath.Join(s.Folder(), host+".sock") }

// query runs the status or peers command of our program on a host. It may end with another exit code than 0 and an answer.
func (s *service) query(host, role, what string) string {
	out, err := s.Host(host).Run(startTimeout, lab.Program(role), what, "--json", "--control", s.socket(host))
	if err != nil && out == "" {
		return err.Error()
	}
	return out
}

// startServer starts the server of a site.
func (s *service) startServer(at site) {
	s.t.Helper()
	s.programs[at.name] = s.start(at.name, lab.Program("server"), "run", "--bind", serverAddr1, "--bind2", serverAddr2,
		"--announce", "--permit-ipv4", lab.PublicRanges, "--control", s.socket(at.name))
}

// startRelay starts the relay of a site.
func (s *service) startRelay(at site) {
	s.t.Helper()
	s.programs[at.name] = s.start(at.name, lab.Program("relay"), "run", "--bind", at.addr4(), "--tun", tun, "--drain-idle", drainIdle,
		"--permit-ipv4", lab.PublicRanges, "--control", s.socket(at.name))
}

// hops are the next hops that the router has for a prefix.
func (s *service) hops(family, prefix string) (hops []string) {
	for _, m := range regexp.MustCompile(`via (\S+)`).FindAllStringSubmatch(s.run(router, "ip", family, "route", "show", prefix), -1) {
		hops = append(hops, m[1])
	}
	slices.Sort(hops)
	return hops
}

// untilAnnounced waits until the router has a prefix from exactly these sites.
func (s *service) untilAnnounced(family, prefix string, sites ...site) {
	s.t.Helper()
	var want []string
	for _, at := range sites {
		want = append(want, map[string]string{"-4": at.addr4(), "-6": at.addr6()}[family])
	}
	slices.Sort(want)
	s.until(fmt.Sprintf("%s from %v", prefix, sites), func() error {
		if got := s.hops(family, prefix); !slices.Equal(got, want) {
			return fmt.Errorf("it is from %v", got)
		}
		return nil
	})
}

// relaysExcept are all relays but some.
func relaysExcept(missing ...site) (rest []site) {
	for n := range relays {
		if at := relaySite(n + 1); !slices.Contains(missing, at) {
			rest = append(rest, at)
		}
	}
	return rest
}

// startClient starts a client: one of ours, or one of Miredo.
func (s *service) startClient(n int) {
	s.t.Helper()
	host := clientName(n)
	argv := []string{lab.Program("client"), "run", "--server", serverAddr1, "--server2", serverAddr2, "--tun", tun,
		"--permit-ipv4", lab.PublicRanges, "--control", s.socket(host)}
	if n > ours && n != latecomer {
		file := filepath.Join(s.Folder(), host+".conf")
		config := "RelayType client\nInterfaceName " + tun + "\nServerAddress " + serverAddr1 + "\n"
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			s.t.Fatal(err)
		}
		argv = []string{"miredo", "-f", "-u", "nobody", "-c", file, "-p", filepath.Join(s.Folder(), host+".pid")}
	}
	s.programs[host] = s.start(host, argv...)
}

// untilQualified waits until a client has its address and the routes that use it.
func (s *service) untilQualified(n int) (own netip.Addr) {
	s.t.Helper()
	host := clientName(n)
	check := func() error {
		addrs, err := s.Host(host).Addrs(tun)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if teredo.IsTeredo(a) {
				own = a
			}
		}
		if !own.IsValid() {
			return errors.New("no Teredo address")
		}
		for destination, want := range map[string]string{own.String(): "local", nativeAddr(1).String(): "dev " + tun} {
			if route := s.run(host, "ip", "-6", "route", "get", destination); !strings.Contains(route, want) {
				return fmt.Errorf("route: %s", route)
			}
		}
		if n > ours && n != latecomer {
			return nil
		}
		var status struct{ State string }
		out := s.query(host, "client", "status")
		if err := json.Unmarshal([]byte(out), &status); err != nil || status.State != "qualified" {
			return errors.New(out)
		}
		return nil
	}
	if err := s.programs[host].Until(startTimeout, host+" to be qualified", check); err != nil {
		s.t.Fatal(err)
	}
	return own
}
