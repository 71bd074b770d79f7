//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	socksproxy "golang.org/x/net/proxy"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// patience is how long a step may take. Each normally takes less than a second.
const patience = 30 * time.Second

// tun is what client and relay call their interface unless told otherwise.
const tun = "teredo"

// nativePrefix is the operator's own, which is routed to the relay.
const nativePrefix = "2001:db8:c::/64"

// story is the demo while it runs.
type story struct {
	*lab.Lab
	out    io.Writer
	bin    string
	step   int
	client netip.Addr // the Teredo address of client1
}

// tell runs the demo. When a step fails, the error holds the ends of the programs' logs.
func tell(out io.Writer, bin string) (err error) {
	s := &story{out: out, bin: bin}
	fmt.Fprint(out, "A host with nothing but IPv4 behind a NAT reaches an IPv6 host, and is reached by it. All of it runs on this machine.\n\n")
	s.next("A small internet in network namespaces")
	if s.Lab, err = lab.New(lab.PortRestricted, lab.PortRestricted); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	fmt.Fprint(out, drawing)
	for _, step := range []func() error{s.route, s.startServer, s.startRelay, s.startClient, s.ping, s.fetch, s.showPaths, s.fetchInbound, s.fetchByProxy} {
		if err := step(); err != nil {
			return errors.Join(err, s.logs())
		}
	}
	s.next("Everything is taken down")
	return s.stopAll()
}

const drawing = `
     client1 ────── NAT ────────┬─ IPv4 ── server 192.0.2.1
     192.168.1.2    203.0.113.1 └─ IPv4 ── relay 198.51.100.1 ── IPv6 ── native host 2001:db8:6::1

`

// route gives the small internet the routes of today's: one to the operator's own prefix, and none to Teredo's.
func (s *story) route() error {
	s.next("A route to the operator's %s leads to the relay's host; no route leads to 2001::/32", nativePrefix)
	for _, args := range [][]string{{"delete", "2001::/32"}, {"add", nativePrefix, "via", "2001:db8:2::1"}} {
		if _, err := s.Host("inet").Run(patience, append([]string{"ip", "-6", "route"}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) startServer() error {
	s.next("teredo-server at %s and %s, with --native-prefix %s", lab.ServerAddr, lab.ServerAddr2, nativePrefix)
	return s.start("server", "server", "--bind", lab.ServerAddr, "--bind2", lab.ServerAddr2, "--native-prefix", nativePrefix)
}

func (s *story) startRelay() error {
	prefix := lab.ServerAddr + "=" + nativePrefix
	s.next("teredo-relay at %s, with --native-prefix %s", lab.RelayAddr, prefix)
	return s.start("relay", "relay", "--bind", lab.RelayAddr, "--native-prefix", prefix)
}

func (s *story) startClient() error {
	s.next("teredo-client on client1; waiting until it is qualified")
	began := time.Now()
	if err := s.start("client1", "client", "--server", lab.ServerAddr, "--server2", lab.ServerAddr2); err != nil {
		return err
	}
	var status struct {
		State, Local, Mapped, NAT string
		Address                   netip.Addr
		LastError                 string `json:"last_error"`
	}
	err := lab.Until(patience, "the client to qualify", func() error {
		err := s.query("client1", "client", "status", &status)
		if err == nil && status.State != "qualified" {
			err = fmt.Errorf("it is %s: %s", status.State, status.LastError)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.client = status.Address
	s.say("qualified as %s after %v", status.Address, time.Since(began).Round(time.Millisecond))
	s.say("behind a %s NAT: %s is %s outside", status.NAT, status.Local, status.Mapped)
	return nil
}

func (s *story) ping() error {
	s.next("client1 pings the native host %s", lab.NativeAddr)
	out, err := s.Host("client1").Run(patience, "ping", "-6", "-n", "-c", "3", "-i", "0.2", lab.NativeAddr)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "bytes from") || strings.Contains(line, "packets transmitted") {
			s.say("%s", strings.TrimSpace(line))
		}
	}
	return nil
}

func (s *story) fetch() error {
	return s.fetchPage("client1", "native", lab.NativeAddr, lab.NativeAddr, "has only IPv6")
}

// fetchInbound fetches a page of the client by its native address.
func (s *story) fetchInbound() error {
	prefix, err := teredo.NewNativePrefix(netip.MustParseAddr(lab.ServerAddr), netip.MustParsePrefix(nativePrefix))
	if err != nil {
		return err
	}
	native, ok := teredo.NativePrefixes{prefix}.Native(s.client)
	if !ok {
		return fmt.Errorf("the client's address %v has no native address in %v", s.client, prefix)
	}
	return s.fetchPage("native", "client1", native.String(), s.client.String(), "is behind a NAT and has no IPv6 but Teredo")
}

// fetchPage has one host fetch a page of another, at address, which the web server itself sees as local.
func (s *story) fetchPage(from, to, address, local, host string) error {
	dial := func(ctx context.Context, _, addr string) (net.Conn, error) { return s.Host(from).Dial(ctx, addr) }
	return s.fetchBy(dial, from, to, address, local, host)
}

// fetchBy is fetchPage with a way to connect.
func (s *story) fetchBy(dial func(ctx context.Context, network, addr string) (net.Conn, error), from, to, address, local, host string) error {
	url := "http://" + net.JoinHostPort(address, "80") + "/"
	s.next("%s fetches %s from %s", from, url, to)
	listener, err := s.Host(to).Listen(net.JoinHostPort(local, "80"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: welcome(host)}
	// It serves until the listener is closed, and returns just that.
	go func() { _ = server.Serve(listener) }()
	defer server.Close()

	client := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial}}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	for line := range strings.Lines(string(page)) {
		s.say("%s", strings.TrimSpace(line))
	}
	return nil
}

// fetchByProxy has a program without an interface fetch a page: a proxy on client2.
func (s *story) fetchByProxy() error {
	const socks = "127.0.0.1:1080"
	s.next("teredo-client proxy on client2, which needs no privilege and makes no interface, at %s for SOCKS", socks)
	argv := []string{s.program("client"), "proxy", "--server", lab.ServerAddr, "--socks", socks, "--permit-ipv4", lab.PublicRanges,
		"--control", s.control("client2")}
	if _, err := s.Host("client2").Start(argv...); err != nil {
		return err
	}
	if _, err := s.Host("client2").Run(patience, s.program("client"), "status", "--wait=25s", "--control", s.control("client2")); err != nil {
		return err
	}
	dialer, err := socksproxy.SOCKS5("tcp", socks, nil, &onHost{s.Host("client2")})
	if err != nil {
		return err
	}
	return s.fetchBy(dialer.(socksproxy.ContextDialer).DialContext, "client2", "native", lab.NativeAddr, lab.NativeAddr, "has only IPv6")
}

// onHost connects from a host of the lab.
type onHost struct{ *lab.Host }

func (h *onHost) Dial(_, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return h.Host.Dial(ctx, addr)
}

func welcome(host string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "Hello from a host that %s.\nYou came from %s.\n", host, from)
	}
}

func (s *story) showPaths() error {
	s.next("The path that the packets took")
	var peers []struct {
		Address, Endpoint string
		Sent              int `json:"sent_packets"`
		Received          int `json:"received_packets"`
	}
	if err := s.query("client1", "client", "peers", &peers); err != nil {
		return err
	}
	if len(peers) == 0 {
		return errors.New("the client names no peers")
	}
	for _, p := range peers {
		s.say("%s through the relay at %s: %d packets sent, %d received", p.Address, p.Endpoint, p.Sent, p.Received)
	}
	return s.showCarrier()
}

// showCarrier says who carries the packets at the client.
func (s *story) showCarrier() error {
	var status struct {
		Offloads struct {
			KernelPath  bool `json:"kernel_path"`
			KernelFlows int  `json:"kernel_flows"`
		}
	}
	if err := s.query("client1", "client", "status", &status); err != nil {
		return err
	}
	if status.Offloads.KernelPath {
		s.say("found by the program and carried by the kernel itself: %d flow(s)", status.Offloads.KernelFlows)
	} else {
		s.say("carried by the program, as the kernel cannot do it here")
	}
	return nil
}

// start starts one of our programs on a host and waits until it answers.
func (s *story) start(host, role string, args ...string) error {
	argv := []string{s.program(role), "run", "--permit-ipv4", lab.PublicRanges, "--control", s.control(host)}
	p, err := s.Host(host).Start(append(argv, args...)...)
	if err != nil {
		return err
	}
	return p.Until(patience, "teredo-"+role+" to answer", func() error {
		var status struct{}
		return s.query(host, role, "status", &status)
	})
}

// stopAll ends the programs as an operator would. Each must say that all went well.
func (s *story) stopAll() error {
	for _, p := range s.Processes() {
		if code, err := p.Stop(patience); err != nil || code != 0 {
			return errors.Join(err, fmt.Errorf("%s ended with exit code %d", p.Name, code), s.logs())
		}
	}
	for _, host := range []string{"client1", "relay"} {
		links, err := s.Host(host).Run(patience, "ip", "-o", "link", "show")
		if err != nil {
			return err
		}
		if strings.Contains(links, tun) {
			return fmt.Errorf("%s still has the interface %s: %s", host, tun, links)
		}
	}
	s.say("the interfaces %q of client1 and relay are gone, and with them all addresses and routes", tun)
	return nil
}

// query runs the status or peers command of one of our programs.
func (s *story) query(host, role, what string, into any) error {
	out, err := s.Host(host).Run(patience, s.program(role), what, "--json", "--control", s.control(host))
	if err != nil && out == "" { // a client that is off-line answers, and the command ends with exit code 3
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("read %s of teredo-%s: %w", what, role, err)
	}
	return nil
}

// logs returns the ends of the programs' logs as an error.
func (s *story) logs() error {
	var errs []error
	for _, p := range s.Processes() {
		errs = append(errs, fmt.Errorf("the log of %s ends:\n%s", p.Name, p.Tail(10)))
	}
	return errors.Join(errs...)
}

func (s *story) program(role string) string { return filepath.Join(s.bin, "teredo-"+role) }
func (s *story) control(host string) string { return filepath.Join(s.Folder(), host+".sock") }

// next begins a numbered step.
func (s *story) next(format string, args ...any) {
	s.step++
	fmt.Fprintf(s.out, "%d. %s\n", s.step, fmt.Sprintf(format, args...))
}

// say prints something that a step found.
func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.out, "     %s\n", fmt.Sprintf(format, args...))
}
