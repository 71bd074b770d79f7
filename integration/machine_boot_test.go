//go:build linux

package integration

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestMachineBoot is a laptop's life: NetworkManager configures the card, the power fails, the network comes after the client, the
// clock jumps, the machine sleeps, the package is upgraded and purged.
func TestMachineBoot(t *testing.T) {
	m := newMachineWorld(t, "trixie", "e1000", "NetworkManager", "old")
	network := m.startNetwork()
	m.enable()
	address := m.untilQualified()
	m.untilSaved()
	network.Kill()
	m.powerCut()
	m.untilStatus("the client to say what it waits for", func(s machineStatus) bool { return s.WaitingFor != "" })
	capture := m.captureCard()
	m.startNetwork()
	m.same(address)
	m.sh("systemctl restart NetworkManager && nm-online -q -t 60")
	if managed := m.sh("nmcli -g GENERAL.STATE device show teredo"); !strings.Contains(managed, "unmanaged") {
		t.Errorf("NetworkManager's state of the interface is %q", managed)
	}
	m.works(address)
	m.carries()
	if s, err := m.status(); err != nil || !s.Offloads.KernelPath || s.Confined == "" {
		t.Errorf("status: %+v, %v", s, err)
	}
	m.judge(capture)

	m.sh("date -s '+400 days'")
	m.works(m.same(address))
	m.sh("date -s '-800 days'")
	m.works(m.same(address))

	m.order("stop")
	time.Sleep(20 * time.Second) // as long as this, the machine does not see time go by
	m.order("cont")
	m.works(m.same(address))

	m.suspend()
	m.works(m.same(address))

	m.upgrade(address)
	m.purge()
}

// same waits until the client is qualified, and checks that its address is the one before.
func (m *machine) same(address netip.Addr) netip.Addr {
	m.w.t.Helper()
	if now := m.untilQualified(); now != address {
		m.w.t.Fatalf("the address is %v, it was %v", now, address)
	}
	return address
}

// order has QEMU do something.
func (m *machine) order(command string) {
	m.w.t.Helper()
	if err := m.Monitor(command); err != nil {
		m.w.t.Fatal(err)
	}
}

// suspend sends the machine to sleep (to RAM) and wakes it up.
func (m *machine) suspend() {
	m.w.t.Helper()
	m.sh("systemd-run --on-active=1s systemctl suspend")
	if err := m.Until(commandTimeout, "the machine to sleep", func() error {
		state, err := m.State()
		if err == nil && state != "suspended" {
			err = errors.New(state)
		}
		return err
	}); err != nil {
		m.w.t.Fatal(err)
	}
	m.order("system_wakeup")
	if err := m.Until(commandTimeout, "the machine to wake up", m.Reconnect); err != nil {
		m.w.t.Fatalf("%v; the console ends: %s", err, m.Console(10))
	}
}

// upgrade upgrades the packages while the client runs and a TCP connection is open, which must go on.
func (m *machine) upgrade(address netip.Addr) {
	m.w.t.Helper()
	var connections atomic.Int32
	m.w.serveHTTP("native", "["+lab.NativeAddr+"]:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for connections.Add(1); r.Context().Err() == nil; time.Sleep(100 * time.Millisecond) {
			fmt.Fprintln(w, time.Now())
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
		}
	}))
	m.sh("systemd-run --unit=stream sh -c 'curl --silent --no-buffer http://native.example/ >/root/stream'")
	received := func(more int) (n int) {
		m.w.t.Helper()
		if err := m.Until(commandTimeout, "data by an open connection", func() error {
			out, err := m.Shell(commandTimeout, "systemctl is-active --quiet stream && wc -c </root/stream")
			if n, _ = strconv.Atoi(strings.TrimSpace(out)); err == nil && n <= more {
				err = fmt.Errorf("%d bytes", n)
			}
			return err
		}); err != nil {
			m.w.t.Fatal(err)
		}
		return n
	}
	received(0)
	before := m.sh("systemctl show -P MainPID teredo-client; dpkg-query -W teredo-client")
	m.install("new")
	if after := m.sh("systemctl show -P MainPID teredo-client; dpkg-query -W teredo-client"); after == before {
		m.w.t.Errorf("after the upgrade there is still %s", after)
	}
	m.same(address)
	received(received(0)) // what comes now was sent after the upgrade
	if n := connections.Load(); n != 1 {
		m.w.t.Errorf("%d connections, want one", n)
	}
	m.sh("systemctl stop stream")
	m.works(address)
}

// purge purges the packages, which must leave nothing.
func (m *machine) purge() {
	m.w.t.Helper()
	m.sh("dpkg --purge teredo-client teredo-common")
	if out, _ := m.Shell(commandTimeout, files+" | diff /root/files - | grep '^>'"); out != "" {
		m.w.t.Errorf("purge leaves files: %s", out)
	}
	if out, err := m.Shell(commandTimeout, "getent passwd teredo-client || getent group teredo-client || ip link show teredo || systemctl cat teredo-client"); err == nil {
		m.w.t.Errorf("purge leaves %s", out)
	}
}
