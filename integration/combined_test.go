//go:build linux

package integration

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// TestServerWithRelay runs server and relay on one host with one public address: clients of the server find native hosts
// through the relay beside it, and native hosts find them (S-REL-01). The relay serves their host, too, as it is told to.
func TestServerWithRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	w.startRelay(ours, "--serve", "2001:db8::/32")
	server := w.start("relay", program("server"), "run", "--bind", lab.RelayAddr,
		"--permit-ipv4", lab.PublicRanges, "--control", w.control("server"))
	w.until(server, startTimeout, "the server to listen", func() error { return w.listens("relay", teredo.Port) })

	addrs := make(map[string]netip.Addr)
	for _, host := range []string{"client1", "client2"} {
		client := w.start(host, program("client"), "run", "--server", lab.RelayAddr, "--tun", tun,
			"--permit-ipv4", lab.PublicRanges, "--control", w.control(host))
		w.until(client, startTimeout, host+" to have a Teredo address", func() error {
			addr, ok := w.teredoAddr(host)
			if !ok {
				return errors.New("it has none")
			}
			addrs[host] = addr
			return nil
		})
	}
	w.ping("client1", netip.MustParseAddr(lab.NativeAddr))
	w.ping("native", addrs["client2"])
	w.ping("client1", addrs["client2"])
	w.ping("client2", netip.MustParseAddr(relayHostAddr))
}
