//go:build linux

package integration

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestDisturbedInterface takes away from the interfaces of client and relay what they need. They restore it and say so, and what
// went on before goes on.
func TestDisturbedInterface(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"client", "relay"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.record()
			addr, running := w.startCarriers()
			native := netip.MustParseAddr(lab.NativeAddr)
			host := map[string]string{"client": "client1", "relay": "relay"}[role]
			linkLocal := w.linkLocal(host)
			w.ping("client1", native)
			for _, disturb := range []string{
				"ip link set teredo down",
				"ip link set teredo down; ip link set teredo up",
				"ip -6 addr flush dev teredo",
				"ip -6 route flush dev teredo",
				"sysctl -qw net.ipv6.conf.teredo.disable_ipv6=1",
			} {
				told := func() int { return strings.Count(running[host].Log(), "it was restored") }
				before := told()
				w.streamAcross("client1", "native", native, func() {
					w.run(host, "sh", "-c", disturb)
					w.until(running[host], startTimeout, disturb+": packets, and the log to tell", func() error {
						if told() == before {
							return errors.New("not told")
						}
						return w.Host("client1").Ping(native, pingTimeout)
					})
				})
				w.ping("native", addr)
				if now := w.linkLocal(host); now != linkLocal {
					t.Errorf("%s: the link-local address is %v, was %v", disturb, now, linkLocal)
				}
				if now, has := w.teredoAddr("client1"); !has || now != addr {
					t.Errorf("%s: the client's address is %v, was %v", disturb, now, addr)
				}
			}
		})
	}
}

// linkLocal is the link-local address of our interface on a host.
func (w *world) linkLocal(host string) netip.Addr {
	w.t.Helper()
	addrs, err := w.Host(host).Addrs(tun)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range addrs {
		if a.IsLinkLocalUnicast() {
			return a
		}
	}
	w.t.Fatalf("%s has no link-local address: %v", host, addrs)
	return netip.Addr{}
}

// TestDeletedInterface: without its interface a program ends, and says why.
func TestDeletedInterface(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	_, running := w.startCarriers()
	for host, p := range running {
		w.run(host, "ip", "link", "delete", tun)
		w.wantExit(p, 1, "the TUN interface was removed by another program; start again to create a new one")
	}
}
