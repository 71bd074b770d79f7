//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// onLink is the prefix of the link between the relay and its router, whose address is the gateway.
const (
	onLink  = "2001:db8:2::/64"
	gateway = "2001:db8:2::ff"
)

// onLinkAddr is the native address of a client.
func onLinkAddr(t *testing.T, client netip.Addr) netip.Addr {
	t.Helper()
	p, err := teredo.NewNativePrefix(netip.MustParseAddr(lab.ServerAddr), netip.MustParsePrefix(onLink))
	if err != nil {
		t.Fatal(err)
	}
	native, ok := teredo.NativePrefixes{p}.Native(client)
	if !ok {
		t.Fatalf("%v has no native address", client)
	}
	return native
}

type neighborStatus struct {
	Peers int
	Proxy struct {
		Interface         string
		Answered, Waiting uint64
		Drops             map[string]uint64
	} `json:"neighbor_proxy"`
}

func (w *world) neighborStatus() (s neighborStatus) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.query("relay", "relay", "status")), &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// onLinkRelay starts server and relay with a native prefix that is the prefix of the relay's link. No route leads to 2001::/32.
func (w *world) onLinkRelay() *lab.Process {
	w.t.Helper()
	w.run("inet", "ip", "-6", "route", "del", "2001::/32")
	w.start("server", w.serverCommand("--native-prefix", onLink)...)
	w.untilState("server", "running")
	relay := w.start("relay", w.relayCommand("--native-prefix", lab.ServerAddr+"="+onLink, "--neighbor-proxy", "uplink")...)
	w.untilState("relay", "running")
	return relay
}

// TestNeighborProxy gives clients native addresses of the link that the relay is on. Its router, which has an address of the link's prefix
// itself, finds clients there that the relay knows and others. The hosts of the link keep theirs.
func TestNeighborProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	relay := w.onLinkRelay()
	_, first := w.startClient("client1", ours)
	_, second := w.startClient("client2", ours)
	native := netip.MustParseAddr(lab.NativeAddr)
	w.ping("client1", native)
	w.ping("native", onLinkAddr(t, first))
	w.ping("native", onLinkAddr(t, second)) // nobody has heard of this one
	if s := w.neighborStatus(); s.Proxy.Interface != "uplink" || s.Proxy.Answered < 2 || s.Proxy.Waiting != 0 || s.Peers != 2 {
		t.Errorf("status %+v", s)
	}
	if got, want := w.confined("relay"), "capabilities, no_new_privs, landlock, seccomp"; got != want {
		t.Errorf("the relay is confined by %q, want %q", got, want)
	}
	w.ping("relay", netip.MustParseAddr(gateway))
	w.ping("native", netip.MustParseAddr("2001:db8:2::1")) // the relay's host
	w.ping("inet", netip.MustParseAddr("2001:db8:2::1"))

	// An address that no client can have is not answered for, and neither is one whose client does not answer.
	silent := teredo.Address{Server: netip.MustParseAddr(lab.ServerAddr), Flags: 0x1234, Mapped: netip.MustParseAddrPort("203.0.113.1:9")}.Addr()
	for _, nobody := range []netip.Addr{netip.MustParseAddr("2001:db8:2::1234"), onLinkAddr(t, silent)} {
		if err := w.Host("native").Ping(nobody, 3*time.Second); err == nil {
			t.Errorf("%v answers", nobody)
		}
	}
	if err := lab.Until(startTimeout, "the drops", func() error {
		if s := w.neighborStatus(); s.Proxy.Drops["destination"] == 0 || s.Proxy.Drops["no-path"] == 0 || s.Proxy.Waiting != 0 {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if out, err := w.Host("inet").Run(startTimeout, "ip", "-6", "neigh", "show", onLinkAddr(t, silent).String()); err != nil || strings.Contains(out, "lladdr") {
		t.Errorf("the router knows a client that does not answer: %q, %v", out, err)
	}

	w.stop(relay)
	out, err := w.Host("relay").Run(startTimeout, "ip", "-6", "route")
	if err != nil || strings.Contains("\n"+out, "\n"+gateway+" dev") || strings.Contains(out, "dev "+tun) || !strings.Contains(out, onLink+" dev uplink") {
		t.Errorf("routes that are left:\n%s%v", out, err)
	}
}

// A host of the link that wants an address which a client has gets it, and its neighbors find it there: the proxy does not answer the host's
// test for duplicates, and its answers do not override those of the host.
func TestNeighborTakesAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.onLinkRelay()
	_, client := w.startClient("client1", ours)
	addr := onLinkAddr(t, client)
	w.ping("native", addr)
	w.run("inet", "sysctl", "-w", "net.ipv6.conf.relay.accept_dad=1")
	w.run("inet", "ip", "-6", "addr", "add", addr.String()+"/128", "dev", "relay")
	if err := lab.Until(startTimeout, "the test for duplicates to end", func() error {
		out, err := w.Host("inet").Run(startTimeout, "ip", "-6", "addr", "show", "dev", "relay", "to", addr.String())
		if err == nil && strings.Contains(out, "tentative") {
			err = errors.New(out)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	out, err := w.Host("inet").Run(startTimeout, "ip", "-6", "addr", "show", "dev", "relay", "to", addr.String())
	if err != nil || !strings.Contains(out, addr.String()) || strings.Contains(out, "dadfailed") {
		t.Errorf("the host has not got the address: %q, %v", out, err)
	}
	if s := w.neighborStatus(); s.Proxy.Drops["source"] == 0 {
		t.Errorf("the proxy has not seen the test: %+v", s)
	}
}

// The relay says what to do when its flags are not right for the links of its host.
func TestNeighborProxyFlags(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	prefix := []string{"--native-prefix", lab.ServerAddr + "=" + onLink}
	w.wantExit(w.start("relay", w.relayCommand(prefix...)...), 64,
		"--native-prefix 2001:db8:2::/64 is the prefix of interface uplink", "use --neighbor-proxy uplink", "as a /128")
	w.wantExit(w.start("relay", w.relayCommand(append(prefix, "--neighbor-proxy", "lo")...)...), 64, "is on-link at uplink, and not at lo")
	w.wantExit(w.start("relay", w.relayCommand(append(prefix, "--neighbor-proxy", "eth7")...)...), 64, "this host has no interface eth7")
	w.wantExit(w.start("relay", w.relayCommand("--neighbor-proxy", "uplink")...), 64, "--neighbor-proxy is for the addresses of a --native-prefix")
	for warning, flags := range map[string][]string{
		"the clients of this relay have Teredo addresses only": {},
		"the native prefix is not on-link here":                {"--native-prefix", lab.ServerAddr + "=2001:db8:c::/64", "--neighbor-proxy", "uplink"},
		"the native prefix is part of one that is on-link":     {"--native-prefix", lab.ServerAddr + "=2001:db8:8::/64"},
	} {
		if strings.Contains(warning, "part of") {
			w.run("relay", "ip", "-6", "route", "add", "2001:db8:8::/48", "dev", "uplink")
		}
		relay := w.start("relay", w.relayCommand(flags...)...)
		w.until(relay, startTimeout, "the warning", func() error {
			if !strings.Contains(relay.Log(), warning) {
				return errors.New("it has not come")
			}
			return nil
		})
		w.untilState("relay", "running")
		w.stop(relay)
	}
}
