//go:build linux

package integration

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

// homePrefix is the prefix of the home network in docs/home-gateway.md.
const homePrefix = "fd7b:2b1c:5a01:1::/64"

// recipe are the files of docs/home-gateway.md, by name, for the interface that a lab's router has toward the laptop.
func recipe(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/home-gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, block := range regexp.MustCompile("(?ms)^```\n# (/etc/\\S+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		files[filepath.Base(block[1])] = strings.ReplaceAll(block[2], "lan0", "laptop")
	}
	return files
}

// TestHomeGateway follows docs/home-gateway.md on the host of a client: a laptop behind it, which knows nothing of Teredo, gets an address,
// a name server and IPv6, in both directions of TCP, and can be reached at one port from outside.
func TestHomeGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	w.startCarriers()
	address, _ := w.teredoAddr("client1")
	laptop, err := w.AddHost("client1", "laptop", "192.168.10.1/24", "192.168.10.2/24")
	if err != nil {
		t.Fatal(err)
	}
	w.run("laptop", "sysctl", "-w", "net.ipv6.conf.uplink.accept_ra=1")
	if _, err := w.Host("laptop").Run(startTimeout, "ip", "-6", "route", "del", "default"); err == nil {
		t.Fatal("the laptop has a default route before it gets one")
	}

	files := recipe(t)
	path := func(name string) string {
		text, ok := files[name]
		if !ok {
			t.Fatalf("docs/home-gateway.md has no file %s", name)
		}
		path := filepath.Join(w.Folder(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	w.run("client1", "ip", "-6", "address", "add", "fd7b:2b1c:5a01:1::1/64", "dev", "laptop")
	w.run("client1", "sysctl", "-p", path("60-home-gateway.conf"))
	w.run("client1", "nft", "-f", path("home-gateway.nft"))
	w.start("client1", "radvd", "--nodaemon", "--logmethod", "stderr", "--username", "root",
		"--pidfile", filepath.Join(w.Folder(), "radvd.pid"), "--config", path("radvd.conf"))
	w.start("client1", "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--user=root", "--pid-file", "--no-resolv", "--no-hosts",
		"--host-record=native.example,"+lab.NativeAddr, "--conf-file="+path("home-gateway.conf"))

	home := netip.MustParsePrefix(homePrefix)
	if err := lab.Until(startTimeout, "the laptop's address", func() error {
		addrs, err := laptop.Addrs("uplink")
		for _, a := range addrs {
			if home.Contains(a) {
				return err
			}
		}
		return fmt.Errorf("it has %v, %v", addrs, err)
	}); err != nil {
		t.Fatal(err)
	}
	var native netip.Addr
	if err := lab.Until(startTimeout, "the name server", func() error {
		resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
			err = laptop.Do(func() (err error) {
				conn, err = new(net.Dialer).DialContext(ctx, network, "[fd7b:2b1c:5a01:1::1]:53")
				return err
			})
			return conn, err
		}}
		addrs, err := resolver.LookupNetIP(t.Context(), "ip6", "native.example.")
		if err == nil {
			native = addrs[0]
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if native != netip.MustParseAddr(lab.NativeAddr) {
		t.Fatalf("the name server says %v", native)
	}
	// The router's own link-local address may still be under test for duplicates when the laptop has its route.
	if err := lab.Until(startTimeout, "the native host to answer the laptop", func() error { return laptop.Ping(native, 2*time.Second) }); err != nil {
		t.Error(err)
	}
	w.transfer("laptop", "native", native, 20<<20)
	w.fetch("laptop", "native", native, 20<<20)

	w.run("laptop", "ip", "-6", "address", "add", "fd7b:2b1c:5a01:1::80/64", "dev", "uplink", "nodad")
	listener, err := laptop.Listen("[fd7b:2b1c:5a01:1::80]:80")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if conn, err := w.Host("native").Dial(t.Context(), netip.AddrPortFrom(address, 81).String()); err == nil {
		conn.Close()
		t.Error("a port that nothing is forwarded from is open")
	}
	w.run("client1", "nft", "add", "rule", "ip6", "home_gateway", "prerouting", "iifname", tun, "tcp", "dport", "80", "dnat", "to", "fd7b:2b1c:5a01:1::80")
	conn, err := w.Host("native").Dial(t.Context(), netip.AddrPortFrom(address, 80).String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// fetch is transfer in the direction from a server to whoever has connected to it.
func (w *world) fetch(by, from string, addr netip.Addr, size int64) {
	w.t.Helper()
	listener, err := w.Host(from).Listen(netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), transferTimeout)
	defer cancel()
	in, err := w.Host(by).Dial(ctx, listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer in.Close()
	out, err := listener.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	if err := compare(in, out, size); err != nil {
		w.t.Errorf("fetch %s <- %s: %v", by, from, err)
	}
}
