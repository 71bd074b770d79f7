//go:build linux

package integration

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	// qualificationTimeout: three attempts of 4 s (C-QUAL-03), and time to spare.
	qualificationTimeout = time.Minute
	// lossTimeout: the refresh interval of 30 s (C-MNT-05), then three attempts of 4 s (C-MNT-07), and time to spare.
	lossTimeout = 2 * time.Minute
	// retryTimeout is for a client that is offline and tries again now and then.
	retryTimeout = 150 * time.Second
)

// TestStatusLifecycle follows a client's status while its server comes, goes and comes back.
func TestStatusLifecycle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	qualified := func(s clientStatus) bool { return s.State == "qualified" }

	w.start("client1", w.clientCommand("client1")...)
	w.untilStatus(startTimeout, "client1", "an answer", func(s clientStatus) bool { return s.State == "starting" })
	w.untilStatus(qualificationTimeout, "client1", "offline, with a reason", func(s clientStatus) bool {
		return s.State == "offline" && s.LastError != "" && s.Server != ""
	})

	server := w.startServer(ours)
	s := w.untilStatus(retryTimeout, "client1", "qualified once the server is there", qualified)
	if addr, _ := w.teredoAddr("client1"); addr.String() != s.Address {
		t.Errorf("address %v on the interface, %q in the status", addr, s.Address)
	}
	if mapped, err := netip.ParseAddrPort(s.Mapped); err != nil || mapped.Addr().String() != lab.NAT1Addr {
		t.Errorf("mapped %q, want an address and port of %s", s.Mapped, lab.NAT1Addr)
	}

	server.Kill()
	w.untilStatus(lossTimeout, "client1", "no longer qualified, with a reason", func(s clientStatus) bool {
		return s.State != "qualified" && s.LastError != "" && s.Address == ""
	})
	if addr, has := w.teredoAddr("client1"); has {
		t.Errorf("the interface still has %v", addr)
	}

	w.startServer(ours)
	s = w.untilStatus(retryTimeout, "client1", "qualified again", qualified)
	if s.LastError != "" {
		t.Errorf("last_error %q although qualified", s.LastError)
	}
	if addr, _ := w.teredoAddr("client1"); addr.String() != s.Address {
		t.Errorf("after the restart: address %v on the interface, %q in the status", addr, s.Address)
	}
}

// TestLateAddress starts a client on an address that its host gets only later, as happens at boot.
func TestLateAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	const late = "192.168.1.77"
	w.start("client1", w.clientCommand("client1", "--bind", late)...)
	w.untilStatus(startTimeout, "client1", "a status that names the missing address", func(s clientStatus) bool {
		return s.State != "qualified" && strings.Contains(s.LastError, late)
	})
	w.run("client1", "ip", "address", "add", late+"/24", "dev", "uplink")
	s := w.untilStatus(retryTimeout, "client1", "qualified", func(s clientStatus) bool { return s.State == "qualified" })
	if !strings.HasPrefix(s.Local, late+":") {
		t.Errorf("local %q, want an address of %s", s.Local, late)
	}
}
