//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// The tests in this file need virtual machines: make test-vm. It gives them in the environment the folders of the images, by suite,
// and of the packages, "new" and "old" below it.
const (
	imagePrefix    = "TEREDO_TEST_IMAGE_"
	packageFolder  = "TEREDO_TEST_PACKAGES"
	machineAddress = "192.168.1.2"

	largestDatagram = 20 + 8 + teredo.MTU // with the headers of IPv4 and UDP

	bootTimeout    = 15 * time.Minute
	commandTimeout = 10 * time.Minute // of a command on a machine, which is ten times as slow as this one
	transferBytes  = 16 << 20
)

// machine is a virtual machine in the place of client1.
type machine struct {
	*lab.Machine
	w   *world
	cfg lab.MachineConfig
}

// addMachine makes a machine ready to boot behind nat1, with a name server and a DHCP server that startNetwork starts.
func (w *world) addMachine(suite, card string) *machine {
	w.t.Helper()
	w.run("nat1", "ip", "link", "delete", "client1")
	w.run("nat1", "ip", "link", "add", "client1", "type", "bridge")
	w.run("nat1", "ip", "address", "add", "192.168.1.1/24", "dev", "client1")
	w.run("nat1", "ip", "link", "set", "client1", "up")
	m := &machine{w: w, cfg: lab.MachineConfig{
		Image: os.Getenv(imagePrefix + suite), Disk: filepath.Join(w.t.TempDir(), "disk"), Card: card, Switch: "client1",
		Shared: os.Getenv(packageFolder),
	}}
	w.t.Cleanup(m.explain) // before that of the lab
	if m.cfg.Image == "" || m.cfg.Shared == "" {
		w.t.Fatal("this test needs an image and packages: run it by make test-vm")
	}
	return m
}

// startNetwork starts DHCP and DNS on the machine's network. The server of the lab has the name teredo.example.net.
func (m *machine) startNetwork() *lab.Process {
	m.w.t.Helper()
	return m.w.start("nat1", "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--user=root", "--pid-file", "--no-resolv", "--no-hosts",
		"--interface=client1", "--bind-interfaces", "--dhcp-range="+machineAddress+","+machineAddress, "--dhcp-leasefile="+filepath.Join(m.w.Folder(), "leases"),
		"--host-record=teredo.example.net,"+lab.ServerAddr, "--host-record=native.example,"+lab.NativeAddr)
}

// boot boots the machine, with what it had on its disk when it was killed.
func (m *machine) boot() {
	m.w.t.Helper()
	var err error
	started := time.Now()
	if m.Machine, err = m.w.Host("nat1").StartMachine(m.cfg); err != nil {
		m.w.t.Fatal(err)
	}
	m.w.t.Logf("the machine has booted in %.0f s", time.Since(started).Seconds())
}

// explain logs what the client on the machine says.
func (m *machine) explain() {
	if !m.w.t.Failed() || m.Machine == nil {
		return
	}
	for _, command := range []string{"teredo-client status", "journalctl --no-pager -b -n 60 -u teredo-client", "ip address; ip -6 route; ip -4 route"} {
		out, err := m.Shell(time.Minute, command)
		m.w.t.Logf("%s: %s, %v", command, out, err)
	}
}

// sh runs a shell command on the machine, which must succeed.
func (m *machine) sh(command string) string {
	m.w.t.Helper()
	out, err := m.Shell(commandTimeout, command)
	if err != nil {
		m.w.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// write writes a file on the machine.
func (m *machine) write(path, text string) {
	m.w.t.Helper()
	m.sh(fmt.Sprintf("cat >%s <<'END'\n%s\nEND", path, strings.TrimSuffix(text, "\n")))
}

// install installs the packages of the client, "new" or "old" ones.
func (m *machine) install(which string) string {
	m.w.t.Helper()
	return m.sh("dpkg -i /root/" + which + "/teredo-common_*_all.deb /root/" + which + "/teredo-client_*_amd64.deb")
}

// manage has the machine's network card configured by NetworkManager or systemd-networkd.
func (m *machine) manage(by string) {
	m.w.t.Helper()
	if by == "systemd-networkd" {
		m.write("/etc/systemd/network/10-card.network", "[Match]\nName=e*\n[Network]\nDHCP=ipv4\n")
	}
	m.sh("systemctl enable --now " + by)
}

// configure writes the client's configuration. The second line is for the lab alone, which has documentation addresses for public
// ones.
func (m *machine) configure(more ...string) {
	m.w.t.Helper()
	m.write("/etc/teredo/client.toml", strings.Join(append([]string{
		`server = "teredo.example.net"`, `permit-ipv4 = "` + lab.PublicRanges + `"`}, more...), "\n"))
}

// enable lets systemd start the client, now and at each boot.
func (m *machine) enable() {
	m.w.t.Helper()
	m.sh("systemctl enable --now teredo-client.service")
}

// machineStatus is what these tests read of the client's status.
type machineStatus struct {
	clientStatus
	kernelStatus
	WaitingFor  string `json:"waiting_for"`
	PortMapping string `json:"port_mapping"`
	Confined    string `json:"confined"`
}

func (m *machine) status() (s machineStatus, err error) {
	out, err := m.Shell(commandTimeout, "teredo-client status --json")
	if json.Unmarshal([]byte(out), &s) != nil {
		return s, errors.Join(err, errors.New(out))
	}
	return s, nil // exit code 3 is of a client that is not qualified
}

// untilStatus waits until the client's status fulfils want, and returns it.
func (m *machine) untilStatus(what string, want func(machineStatus) bool) (s machineStatus) {
	m.w.t.Helper()
	if err := m.Until(bootTimeout, what, func() (err error) {
		if s, err = m.status(); err == nil && !want(s) {
			err = fmt.Errorf("status: %+v", s)
		}
		return err
	}); err != nil {
		m.w.t.Fatal(err)
	}
	return s
}

// untilQualified waits until the client has its address, and returns it. The command waits, as starting it again and again would take
// a second of the machine's processor each time.
func (m *machine) untilQualified() netip.Addr {
	m.w.t.Helper()
	var s machineStatus
	out := m.sh("teredo-client status --wait=9m --json 2>/dev/null")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		m.w.t.Fatalf("%v: %s", err, out)
	}
	addr, err := netip.ParseAddr(s.Address)
	if err != nil {
		m.w.t.Fatal(err)
	}
	return addr
}

// works checks that packets go both ways, by name and from outside, and that the IPv4 default route is that of the card.
func (m *machine) works(address netip.Addr) {
	m.w.t.Helper()
	if err := m.Until(commandTimeout, "native.example to answer", func() error {
		_, err := m.Shell(commandTimeout, "ping -6 -n -c 1 -W 10 native.example")
		return err
	}); err != nil {
		m.w.t.Fatal(err)
	}
	if err := m.w.Host("native").Ping(address, commandTimeout); err != nil {
		m.w.t.Errorf("ping native -> machine: %v", err)
	}
	if route := m.sh("ip -4 route show default"); !strings.HasPrefix(route, "default via 192.168.1.1 dev e") || strings.Count(route, "default") != 1 {
		m.w.t.Errorf("the IPv4 default route is %q", route)
	}
	if route := m.sh("ip -6 route show default"); !strings.Contains(route, "dev teredo") {
		m.w.t.Errorf("the IPv6 default route is %q", route)
	}
}

// carries transfers data by TCP, both ways.
func (m *machine) carries() {
	m.w.t.Helper()
	for _, way := range []string{"", "-R "} {
		var report struct {
			End struct {
				Received struct {
					Bytes float64 `json:"bytes"`
					Rate  float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			} `json:"end"`
		}
		out := m.sh(fmt.Sprintf("iperf3 %s-c %s -n %d -J", way, lab.NativeAddr, transferBytes))
		if err := json.Unmarshal([]byte(out), &report); err != nil || report.End.Received.Bytes < transferBytes/2 {
			m.w.t.Errorf("iperf3 %s: %v: %s", way, err, out)
		}
		m.w.t.Logf("iperf3 %s: %.0f Mbit/s", way, report.End.Received.Rate/1e6)
	}
}

// startInternet starts what the client needs on the other hosts.
func (w *world) startInternet() {
	w.t.Helper()
	w.startServer(ours)
	w.startRelay(ours)
	w.start("native", "iperf3", "-s", "-B", lab.NativeAddr)
}

// untilSaved waits until the client has saved its address, and the machine has written it to the disk.
func (m *machine) untilSaved() {
	m.w.t.Helper()
	if err := m.Until(time.Minute, "the saved address", func() error {
		_, err := m.Shell(commandTimeout, "test -s /var/lib/teredo-client/client.last && sync")
		return err
	}); err != nil {
		m.w.t.Fatal(err)
	}
}

// machines are places for machines that run at a time. Each keeps a processor busy, and takes 1 GB.
var machines = make(chan struct{}, 2)

// newMachineWorld is a world with a machine that has the client ("old" or "new"), configured but not started.
func newMachineWorld(t *testing.T, suite, card, manager, which string, options ...string) *machine {
	t.Helper()
	t.Parallel()
	machines <- struct{}{}
	t.Cleanup(func() { <-machines })
	w := newWorld(t, lab.PortRestricted)
	w.startInternet()
	m := w.addMachine(suite, card)
	m.boot()
	m.sh("mount -t 9p -o trans=virtio,ro shared /mnt && mkdir /root/new /root/old && cp /mnt/new/*.deb /root/new && cp /mnt/old/*.deb /root/old && umount /mnt")
	m.manage(manager)
	m.sh(files + " >/root/files")
	m.install(which)
	if state, _ := m.Shell(commandTimeout, "systemctl is-enabled teredo-client.service; systemctl is-active teredo-client.service"); state != "disabled\ninactive\n" {
		t.Errorf("the installed unit is %q", state)
	}
	m.configure(options...)
	return m
}

// files lists the files of a machine that packages could leave.
const files = `find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg ` +
	`-o -path /var/lib/systemd -o -path /var/lib/NetworkManager -o -path /root -o -path /var/lib/apt \) -prune -o -print | sort`

// powerCut cuts the power and boots the machine. What was not yet on the disk is lost.
func (m *machine) powerCut() {
	m.w.t.Helper()
	m.Kill()
	m.boot()
}

// captureCard captures what the machine sends and receives, at the other end of its cable: what its card has made of it. Network
// services that are not Teredo are left out.
func (m *machine) captureCard() *lab.Capture {
	m.w.t.Helper()
	capture, err := m.w.Host("nat1").Capture("machine", "udp and not (port 53 or port 67 or port 123 or port 1900 or port 5351 or port 5353 or port 5355)")
	if err != nil {
		m.w.t.Fatal(err)
	}
	return capture
}

// judge checks every datagram of a capture: its size, its IPv4 identification, the checksums, and what TestWire checks.
func (m *machine) judge(capture *lab.Capture) {
	m.w.t.Helper()
	if err := capture.Stop(); err != nil {
		m.w.t.Fatal(err)
	}
	s, err := m.status()
	if err != nil {
		m.w.t.Fatal(err)
	}
	_, local, _ := strings.Cut(s.Local, ":")
	packets, err := readPackets(capture.File, []string{local}, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE")
	if err != nil {
		m.w.t.Fatal(err)
	}
	faults := make(map[string]int)
	last := make(map[string]string) // identification by receiver
	tcp, repeated := 0, 0
	for _, p := range packets {
		if err := p.check(); err != nil {
			faults[err.Error()]++
			m.w.t.Logf("%v: %v", err, p)
		}
		if size, err := strconv.Atoi(p["ip.len"]); err != nil || size > largestDatagram {
			faults["a datagram larger than "+strconv.Itoa(largestDatagram)]++
		}
		for _, sum := range []string{"ip.checksum.status", "udp.checksum.status", "tcp.checksum.status"} {
			if slices.Contains(strings.Split(p[sum], ","), "0") {
				faults["wrong "+sum]++
			}
		}
		if p["ip.src"] == machineAddress && s.Offloads.KernelPath {
			if p["ip.id"] == last[p["ip.dst"]] {
				repeated++
			}
			last[p["ip.dst"]] = p["ip.id"]
		}
		if p["tcp.checksum.status"] == "1" {
			tcp++
		}
	}
	// The first datagrams of a flow leave by UDP_SEGMENT, which repeats some identifications: docs/performance.md.
	if repeated > len(packets)/100 {
		faults["two datagrams in a row with one identification"] = repeated
	}
	if len(faults) > 0 || tcp < 2*transferBytes/teredo.MTU {
		m.w.t.Errorf("%d datagrams, %d of TCP; faults: %v", len(packets), tcp, faults)
	}
	m.w.t.Logf("%d datagrams at the card, %d of TCP; identification repeated %d times", len(packets), tcp, repeated)
}
