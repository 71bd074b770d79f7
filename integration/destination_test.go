//go:build linux

package integration

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

// A unique local address of the native host.
const uniqueLocalAddr = "fd00:6::1"

// TestDestinations checks that a client gets packets neither to the relay's own host nor to unique local addresses (R-RX-04,
// SEC-LOOP), until relay and server are told to. ICMPv6 errors that the relay's host sends as a router reach the client all the
// same.
func TestDestinations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	w.run("native", "ip", "-6", "address", "add", uniqueLocalAddr+"/64", "dev", "uplink")
	w.run("inet", "ip", "-6", "address", "add", "fd00:6::ff/64", "dev", "native")
	server := w.startServer(ours)
	relay := w.startRelay(ours)
	client, _ := w.startClient("client1", ours, "--permit-ipv6", "fd00::/8")
	w.ping("client1", netip.MustParseAddr(lab.NativeAddr))

	out, err := w.Host("client1").Run(2*pingTimeout, "ping", "-6", "-n", "-c", "1", "-t", "1", "-W", "20", lab.NativeAddr)
	if err == nil || !strings.Contains(out+err.Error(), "From "+relayHostAddr) {
		t.Errorf("no error comes from the relay's host when the hop limit runs out there: %s%v", out, err)
	}
	w.untilSpared(relay, relayHostAddr)
	const late = "2001:db8:2::77"
	w.run("relay", "ip", "-6", "address", "add", late+"/64", "dev", "uplink")
	w.untilSpared(relay, late)
	w.unreachable("client1", netip.MustParseAddr(uniqueLocalAddr))
	if !strings.Contains(w.query("server", "server", "status"), `"scope": `) {
		t.Errorf("the server has dropped nothing: %s", w.query("server", "server", "status"))
	}

	w.stop(relay)
	w.stop(server)
	w.stop(client)
	w.start("server", append(w.serverCommand(), "--permit-ipv6", "fd00::/8")...)
	w.startRelay(ours, "--serve", "2001:db8::/32,fd00::/8")
	w.startClient("client1", ours, "--permit-ipv6", "fd00::/8")
	for _, addr := range []string{relayHostAddr, lab.NativeAddr, uniqueLocalAddr} {
		w.ping("client1", netip.MustParseAddr(addr))
	}
}

// untilSpared waits until the relay drops what client1 sends to an address of its host.
func (w *world) untilSpared(relay *lab.Process, addr string) {
	w.t.Helper()
	dropped := func() (n uint64) {
		w.untilRelay(relay, "the relay's status", func(s relayStatus) bool { n = s.Drops["destination"]; return true })
		return n
	}
	w.until(relay, startTimeout, "packets to "+addr+" to be dropped", func() error {
		before := dropped()
		if w.Host("client1").Ping(netip.MustParseAddr(addr), 2*time.Second) == nil {
			return errors.New("it answers")
		}
		if dropped() == before {
			return errors.New("the relay has dropped nothing")
		}
		return nil
	})
}
