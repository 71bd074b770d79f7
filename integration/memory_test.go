//go:build linux

package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// smallHost is how much memory the relay of these tests has.
const smallHost = 64 << 20

// TestRelayMemory has a relay with 64 MiB get 300,000 packets from the native side, each to another made-up client (SEC-DOS-01, ST-C-06). It
// lives, and goes on to carry the packets of honest clients.
func TestRelayMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	relay := w.startSmallRelay()
	_, addr := w.startClient("client1", ours)
	carries := func() error { return w.Host("native").Ping(addr, stoppedTimeout) }
	w.until(relay, startTimeout, "the relay to carry a ping", carries)

	const packets = 300_000
	native := w.socket("native", netip.AddrPortFrom(netip.MustParseAddr(lab.NativeAddr), 0).String()).(*net.UDPConn)
	payload := make([]byte, 1000)
	for n := range packets {
		mapped := netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, byte(n >> 16), byte(n >> 8), byte(n)}), 4000)
		client := teredo.Address{Server: netip.MustParseAddr(lab.ServerAddr), Mapped: mapped}.Addr()
		if _, err := native.WriteToUDPAddrPort(payload, netip.AddrPortFrom(client, 9)); err != nil {
			t.Fatal(err)
		}
	}
	// What is still waiting at the relay's interface has to pass first, or to be lost.
	w.until(relay, startTimeout, "the relay to carry a ping", carries)
	w.checkMemory(relay, smallHost)
}

// TestLargeDatagrams sends a relay datagrams of 60,000 bytes that it does not carry. It keeps no copies of them (K-15).
func TestLargeDatagrams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	relay := w.startRelay(ours)
	stranger := w.socket("server", lab.ServerAddr+":4000").(*net.UDPConn)
	self := teredo.Address{Server: netip.MustParseAddr(lab.ServerAddr), Mapped: netip.MustParseAddrPort(lab.ServerAddr + ":4000")}.Addr()
	datagram := append(teredo.AppendBubble(nil, self, netip.MustParseAddr(lab.NativeAddr), 64), make([]byte, 60_000)...)
	binary.BigEndian.PutUint16(datagram[4:], 60_000)
	datagram[6] = 17 // UDP: no bubble
	for range 5000 {
		if _, err := stranger.WriteToUDPAddrPort(datagram, netip.MustParseAddrPort(lab.RelayAddr+":3545")); err != nil {
			t.Fatal(err)
		}
	}
	w.until(relay, startTimeout, "the datagrams to be dropped", func() error {
		if status := w.query("relay", "relay", "status"); !strings.Contains(status, `"too-big"`) {
			return errors.New(status)
		}
		return nil
	})
	w.checkMemory(relay, 48<<20)
}

// startSmallRelay starts a relay in a control group that has little memory, where the kernel lets this machine make one. Elsewhere it
// is told to remember as many clients as it would there.
func (w *world) startSmallRelay() *lab.Process {
	w.t.Helper()
	argv := w.relayCommand()
	if group, err := w.controlGroup(smallHost); err == nil {
		argv = append([]string{"sh", "-c", `echo 0 >"$0" && exec "$@"`, filepath.Join(group, "cgroup.procs")}, argv...)
	} else {
		w.t.Log("without a control group:", err)
		argv = append(argv, "--capacity", fmt.Sprint(smallHost/2048))
	}
	p := w.start("relay", argv...)
	w.untilRelays(p)
	return p
}

// controlGroup makes a control group with a memory limit, and returns its folder. It is gone with the test.
func (w *world) controlGroup(limit int) (folder string, err error) {
	for _, version := range []struct{ folder, file string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"},
	} {
		if folder, err = os.MkdirTemp(version.folder, "teredo-"); err != nil {
			continue
		}
		w.t.Cleanup(func() { // the relay, which is in it, has been killed by then or is now
			for _, p := range w.Processes() {
				p.Kill()
			}
			if err := os.Remove(folder); err != nil {
				w.t.Error(err)
			}
		})
		limitFile := filepath.Join(folder, version.file)
		if _, err = os.Stat(limitFile); err == nil {
			return folder, os.WriteFile(limitFile, []byte(strconv.Itoa(limit)), 0)
		}
	}
	return "", err
}

// checkMemory checks how much memory a program has had at most.
func (w *world) checkMemory(p *lab.Process, most int) {
	w.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		w.t.Fatal(err)
	}
	figure := func(name string) int {
		_, after, _ := strings.Cut(string(status), name+":")
		kilobytes, err := strconv.Atoi(strings.Fields(after + " 0")[0])
		if err != nil || kilobytes == 0 {
			w.t.Fatalf("no %s in %s: %v", name, status, err)
		}
		return kilobytes << 10
	}
	peak := figure("VmHWM")
	w.t.Logf("%s has %d MiB resident, at most %d MiB; %s", p.Name, figure("VmRSS")>>20, peak>>20, w.query("relay", "relay", "status"))
	if peak > most {
		w.t.Errorf("%s has had %d bytes resident, want at most %d", p.Name, peak, most)
	}
}
