//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

// relayHostAddr is the IPv6 address of the relay's host.
const relayHostAddr = "2001:db8:2::1"

// relayStatus is what tests read of a relay's status.
type relayStatus struct {
	Serves []string          `json:"serves"`
	Drops  map[string]uint64 `json:"drops"`
}

// untilRelay waits until the status of our relay fulfils want.
func (w *world) untilRelay(relay *lab.Process, what string, want func(relayStatus) bool) {
	w.t.Helper()
	w.until(relay, startTimeout, what, func() error {
		var s relayStatus
		answer := w.query("relay", "relay", "status")
		if err := json.Unmarshal([]byte(answer), &s); err != nil || !want(s) {
			return fmt.Errorf("status: %s", answer)
		}
		return nil
	})
}

// TestHostRelay checks that a relay for one host carries the packets of this host and of no other (H-01, H-02, R-RX-04),
// whichever addresses the host has at the time.
func TestHostRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	w.startServer(ours)
	relay := w.start("relay", program("relay"), "run", "--host-only", "--bind", lab.RelayAddr, "--tun", tun,
		"--permit-ipv4", lab.PublicRanges, "--control", w.control("relay"))
	serves := func(want ...string) {
		t.Helper()
		w.untilRelay(relay, fmt.Sprintf("the relay to serve %v", want), func(s relayStatus) bool { return slices.Equal(s.Serves, want) })
	}
	serves(relayHostAddr + "/128")
	_, client1 := w.startClient("client1", ours)
	_, client2 := w.startClient("client2", ours)
	w.ping("client1", netip.MustParseAddr(relayHostAddr))
	w.ping("relay", client2)

	// The host forwards packets of others to the interface, as the lab's other relays need it. This relay drops them.
	if err := w.Host("native").Ping(client1, 2*time.Second); err == nil {
		t.Error("the relay carries packets of another host")
	}
	w.untilRelay(relay, "the relay to have dropped a packet of another host", func(s relayStatus) bool { return s.Drops["source"] > 0 })

	const second = "2001:db8:2::77"
	relayIP := func(argv ...string) {
		t.Helper()
		if _, err := w.Host("relay").Run(startTimeout, append([]string{"ip", "-6"}, argv...)...); err != nil {
			t.Fatal(err)
		}
	}
	relayIP("address", "add", second+"/64", "dev", "uplink")
	serves(relayHostAddr+"/128", second+"/128")
	if _, err := w.Host("relay").Run(2*pingTimeout, "ping", "-6", "-n", "-c", "1", "-W", fmt.Sprint(pingTimeout.Seconds()), "-I", second, client1.String()); err != nil {
		t.Errorf("the relay does not carry packets of an address that came later: %v", err)
	}
	relayIP("address", "del", second+"/64", "dev", "uplink")
	serves(relayHostAddr + "/128")

	if log := relay.Log(); strings.Contains(log, "forwarding") {
		t.Errorf("the relay complains about forwarding: %s", log)
	}
}

// TestSunset checks that server and relay announce their end of service, serve until then, and do not start afterwards
// (SUN-03, SUN-04).
func TestSunset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	before := w.state("relay")
	end := time.Now().Add(startTimeout)
	sunset := end.UTC().Format(time.RFC3339)
	commands := map[string][]string{
		"server": {"--bind", lab.ServerAddr, "--bind2", lab.ServerAddr2},
		"relay":  {"--bind", lab.RelayAddr, "--tun", tun},
	}
	running := make(map[string]*lab.Process)
	for role, flags := range commands {
		commands[role] = append([]string{program(role), "run", "--sunset", sunset,
			"--permit-ipv4", lab.PublicRanges, "--control", w.control(role)}, flags...)
		running[role] = w.start(role, commands[role]...)
	}
	for role, p := range running {
		w.until(p, startTimeout, role+" to announce its sunset", func() error {
			var s struct {
				Sunset string `json:"sunset"`
			}
			answer := w.query(role, role, "status")
			if err := json.Unmarshal([]byte(answer), &s); err != nil || s.Sunset != sunset {
				return fmt.Errorf("status: %s", answer)
			}
			return nil
		})
	}
	w.startClient("client1", ours)
	time.Sleep(time.Until(end))
	for role, p := range running {
		w.wantExit(p, 0, "service ends soon", "service ends now", "reason=sunset", sunset)
		w.wantExit(w.start(role, commands[role]...), 64, "sunset", sunset)
	}
	if after := w.state("relay"); after != before {
		t.Errorf("the relay's host is not as before:\n%s\nwas:\n%s", after, before)
	}
}
