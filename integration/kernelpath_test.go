//go:build linux

package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	kernelTransfer = 4 << 20                      // bytes of one direction
	kernelPackets  = kernelTransfer / (1280 - 60) // that it takes at least

	stoppedTimeout = 2 * time.Second // for a ping that only the kernel can carry
	filterTimeout  = 2 * time.Second // for pings that a packet filter swallows
	openTimeout    = 5 * time.Minute // for a flow to open at both ends, and for what it carries then
)

// programs are those that carry a flow, by host.
type programs map[string]*lab.Process

// startCarriers starts our server, our relay and our client on client1, with flags. It returns the client's Teredo address and
// the two programs that carry packets.
func (w *world) startCarriers(flags ...string) (netip.Addr, programs) {
	w.t.Helper()
	w.startServer(ours)
	relay := w.startRelay(ours)
	client, addr := w.startClient("client1", ours, flags...)
	return addr, programs{"client1": client, "relay": relay}
}

// TestKernelPath stops the programs once a flow is confirmed: whatever arrives then, the kernel has carried.
func TestKernelPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	addr1, ends := w.startCarriers()
	client2, addr2 := w.startClient("client2", ours)
	for _, tt := range []struct {
		to   string
		addr netip.Addr
		ends programs
	}{
		{"native", netip.MustParseAddr(lab.NativeAddr), ends},
		{"client2", addr2, programs{"client1": ends["client1"], "client2": client2}},
	} {
		before := make(map[string]kernelStatus)
		for host := range tt.ends {
			before[host] = w.kernelStatus(host)
		}
		w.carried("client1", tt.addr, tt.ends, func() error {
			return errors.Join(w.tryTransfer("client1", tt.to, tt.addr, tt.addr, kernelTransfer),
				w.tryTransfer(tt.to, "client1", addr1, addr1, kernelTransfer))
		})
		for host, p := range tt.ends {
			w.until(p, startTimeout, "the status of "+host+" to count what the kernel has carried", func() error {
				s, b := w.kernelStatus(host), before[host]
				if s.Offloads.KernelFlows == 0 || s.Sent < b.Sent+kernelPackets || s.Received < b.Received+kernelPackets {
					return fmt.Errorf("%+v, was %+v", s, b)
				}
				return nil
			})
		}
		w.ping("client1", tt.addr)
		w.ping(tt.to, addr1)
	}
}

// TestKernelPathMixed lets ends that know packets which the kernel has left unfinished work with ends that do not, which must
// not get any: neither a super-packet nor a TCP checksum that is still to be filled in.
func TestKernelPathMixed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		relay, client1 implementation
		to             string // where client1's packets go; client2 is Miredo
		blind, sighted string // the end that does not know such packets, and the one that does
		off            bool   // the first one is ours
	}{
		{"Miredo's relay", miredo, ours, "native", "relay", "client1", false},
		{"Miredo's client and our relay", ours, miredo, "native", "client1", "relay", false},
		{"Miredo's client and our client", ours, ours, "client2", "client2", "client1", false},
		{"off at the client", ours, ours, "native", "client1", "relay", true},
		{"off at the relay", ours, ours, "native", "relay", "client1", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.record()
			flags := make(map[string][]string)
			if tt.off {
				flags[tt.blind] = []string{"--kernel-path=off"}
			}
			w.startServer(ours)
			w.startRelay(tt.relay, flags["relay"]...)
			_, addr1 := w.startClient("client1", tt.client1, flags["client1"]...)
			to := netip.MustParseAddr(lab.NativeAddr)
			if tt.to == "client2" {
				_, to = w.startClient("client2", miredo)
			}
			capture := w.captureUplink(tt.blind, "dst")
			w.ping("client1", to)
			for range 2 { // packets of the first transfer may open the flow, and those of the second suffer
				w.transfer("client1", tt.to, to, kernelTransfer)
				w.transfer(tt.to, "client1", addr1, kernelTransfer)
			}
			w.wantFinished(capture)
			if s := w.kernelStatus(tt.sighted); !s.Offloads.KernelPath {
				t.Errorf("status of %s: %+v, want a kernel path", tt.sighted, s)
			}
			if tt.off {
				w.wantNoKernelPath(tt.blind)
			}
		})
	}
}

// TestKernelPathRestart kills an end of a flow that the kernel carries. The other end must get on with the next one, whether or
// not that knows unfinished packets.
func TestKernelPathRestart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ end, next string }{{"relay", "auto"}, {"relay", "off"}, {"client1", "auto"}} {
		t.Run(tt.end+", then "+tt.next, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.record()
			addr, ends := w.startCarriers()
			native := netip.MustParseAddr(lab.NativeAddr)
			w.untilCarried("client1", native, ends)
			if n := w.attached(tt.end); n != 1 {
				t.Errorf("%d programs at the uplink of %s, want one", n, tt.end)
			}

			end := w.endless("client1", "native", native)
			ends[tt.end].Kill()
			end()
			if n := w.attached(tt.end); n != 0 {
				t.Errorf("%d programs are left at the uplink of %s", n, tt.end)
			}
			if addrs, err := w.Host(tt.end).Addrs(tun); err != nil || len(addrs) != 0 {
				t.Errorf("the interface of %s is still there: %v, %v", tt.end, addrs, err)
			}

			flag := "--kernel-path=" + tt.next
			if tt.end == "relay" {
				w.startRelay(ours, flag)
			} else {
				_, addr = w.startClient("client1", ours, flag)
			}
			w.run("client1", "ping", "-6", "-n", "-i", "0.2", "-c", "2", "-W", "5", lab.NativeAddr)
			w.endless("client1", "native", native)()
			w.transfer("client1", "native", native, kernelTransfer)
			w.transfer("native", "client1", addr, kernelTransfer)
		})
	}
}

// TestKernelPathPrivilege starts a client that may do everything but load programs. When it has to, it says what is missing;
// else it works without.
func TestKernelPathPrivilege(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	command := func(flag string) []string {
		return append([]string{"setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin", "--"}, w.clientCommand("client1", flag)...)
	}
	w.wantExit(w.start("client1", command("--kernel-path=on")...), 1,
		"CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_NET_RAW", "--kernel-path=auto")

	w.start("client1", command("--kernel-path=auto")...)
	w.untilStatus(startTimeout, "client1", "qualified", func(s clientStatus) bool { return s.State == "qualified" })
	w.wantNoKernelPath("client1")
	text, err := w.Host("client1").Run(startTimeout, program("client"), "status", "--control", w.control("client1"))
	if err != nil || !regexp.MustCompile(`kernel path +no\n`).MatchString(text) {
		t.Errorf("status, %v: %s, want it to say that there is no kernel path", err, text)
	}
}

// TestKernelPathHeaders reads the IPv4 headers that the kernel puts in front of packets whose traffic class is not zero: no ECN
// and no DSCP (ECN-01), the inner field as it was (ECN-02), DF clear (C-CFG-03), and an identification for each (RFC 6864 §4.3).
func TestKernelPathHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	addr, ends := w.startCarriers()
	native := netip.MustParseAddr(lab.NativeAddr)

	const trafficClass, pings = 0xbb, 5
	captures := map[string]*lab.Capture{"client1": w.captureUplink("client1", "src"), "relay": w.captureUplink("relay", "src")}
	for from, to := range map[string]netip.Addr{"client1": native, "native": addr} {
		w.carried("client1", native, ends, func() error {
			_, err := w.Host(from).Run(pingTimeout+stoppedTimeout, "ping", "-6", "-n", "-i", "0.01", "-c", fmt.Sprint(pings),
				"-W", "1", "-Q", fmt.Sprint(trafficClass), to.String())
			return err
		})
	}
	for host, capture := range captures {
		marked := 0
		var last uint16
		for _, d := range w.datagrams(capture) {
			if d.ip.TOS != 0 || d.ip.Flags != 0 || d.ip.TTL != 64 {
				t.Errorf("%s sent TOS %#x, flags %v, TTL %d", host, d.ip.TOS, d.ip.Flags, d.ip.TTL)
			}
			if marked > 0 && d.ip.Id == last {
				t.Errorf("%s sent two datagrams in a row with the identification %d", host, last)
			}
			last = d.ip.Id
			if class := binary.BigEndian.Uint16(d.udp.Payload) >> 4 & 0xff; class == trafficClass {
				marked++
			}
		}
		if marked < pings {
			t.Errorf("%s sent %d packets with the traffic class %#x, want at least %d", host, marked, trafficClass, pings)
		}
	}
}

// TestKernelPathFilter shows what the packet filter of a host sees: nothing of what the kernel's programs carry, which leave
// below it, and everything else.
func TestKernelPathFilter(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"auto", "off"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			_, ends := w.startCarriers("--kernel-path=" + mode)
			native := netip.MustParseAddr(lab.NativeAddr)
			if mode == "auto" {
				w.untilCarried("client1", native, ends)
			} else {
				w.ping("client1", native)
			}
			pings := w.start("client1", "ping", "-6", "-n", "-i", "0.1", native.String()) // so that the flow is never silent
			answers := func() int { return len(numbers(pings, echoReplies)) }
			more := func(timeout time.Duration) error {
				before := answers()
				return pings.Until(timeout, "pings to be answered", func() error {
					if n := answers(); n < before+10 {
						return fmt.Errorf("%d answers, and %d before", n, before)
					}
					return nil
				})
			}
			if err := more(startTimeout); err != nil {
				t.Error(err)
			}
			w.run("client1", "nft", "table ip filter { chain output { type filter hook output priority filter; meta l4proto udp drop; }; }")
			timeout := filterTimeout
			if mode == "auto" {
				timeout = startTimeout
			}
			err := more(timeout)
			pings.Kill()
			switch {
			case mode == "auto" && err != nil:
				t.Errorf("the packet filter sees what the kernel carries: %v", err)
			case mode == "off" && err == nil:
				t.Error("the packet filter does not see what the workers carry")
			}
			w.run("client1", "nft", "delete table ip filter")
			w.ping("client1", native)
		})
	}
}

// kernelStatus is what tests read of the status of a client or a relay.
type kernelStatus struct {
	Offloads kernelOffloads `json:"offloads"`
	Sent     uint64         `json:"sent_packets"`
	Received uint64         `json:"received_packets"`

	SentBytes     uint64 `json:"sent_bytes"`
	ReceivedBytes uint64 `json:"received_bytes"`
}

type kernelOffloads struct {
	KernelPath  bool `json:"kernel_path"`
	KernelFlows int  `json:"kernel_flows"`
	NoBursts    int  `json:"kernel_flows_without_bursts"`
}

// kernelStatus reads the status of our program on a host, which must run.
func (w *world) kernelStatus(host string) (s kernelStatus) {
	w.t.Helper()
	answer := w.query(host, strings.TrimRight(host, "12"), "status")
	if err := json.Unmarshal([]byte(answer), &s); err != nil {
		w.t.Fatal(answer)
	}
	return s
}

// wantNoKernelPath checks that our program on a host carries all packets itself.
func (w *world) wantNoKernelPath(host string) {
	w.t.Helper()
	if s := w.kernelStatus(host); s.Offloads != (kernelOffloads{}) {
		w.t.Errorf("status of %s: %+v, want no kernel path", host, s)
	}
}

// untilCarried waits until the kernel carries a flow both ways: echo requests are answered while the programs are stopped.
func (w *world) untilCarried(from string, to netip.Addr, ends programs) {
	w.t.Helper()
	w.carried(from, to, ends, func() error { return nil })
}

// carried calls f while the kernel carries a flow both ways and the programs are stopped. Over a virtual link the kernel sends
// nothing more once it has not heard the other end for two seconds, until a program opens the flow anew. On a busy machine a
// sender may be late by as much. So echo requests go on meanwhile, and f is called in the stop in which one was answered.
func (w *world) carried(from string, to netip.Addr, ends programs, f func() error) {
	w.t.Helper()
	w.ping(from, to)
	if err := lab.Until(openTimeout, fmt.Sprintf("the kernel to carry %s -> %v", from, to), func() (err error) {
		w.stopped(ends, func() {
			pings := w.start(from, "ping", "-6", "-n", "-i", "0.2", to.String())
			defer pings.Kill()
			if err = pings.Until(stoppedTimeout, "an echo reply", func() error {
				if len(numbers(pings, echoReplies)) == 0 {
					return errors.New("there is none")
				}
				return nil
			}); err == nil {
				err = f()
			}
		})
		// A program that goes on carries what waits for it, and offers the flow.
		return errors.Join(err, w.Host(from).Ping(to, pingTimeout))
	}); err != nil {
		w.t.Fatal(err)
	}
}

// echoReplies are those that ping prints, each with its number.
const echoReplies = `bytes from .* icmp_seq=(\d+)`

// stopped calls f while programs are stopped.
func (w *world) stopped(ends programs, f func()) {
	w.t.Helper()
	signal := func(s unix.Signal) {
		for _, p := range ends {
			if err := p.Signal(s); err != nil {
				w.t.Errorf("%s: %v", p.Name, err)
			}
		}
	}
	signal(unix.SIGSTOP)
	defer signal(unix.SIGCONT)
	f()
}

// endless sends over TCP until the returned function is called. The first bytes have arrived when it returns.
func (w *world) endless(from, to string, addr netip.Addr) (end func()) {
	w.t.Helper()
	out, in := w.connect(from, to, addr)
	// A deadline for all of it: no test needs more.
	if err := in.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		w.t.Fatal(err)
	}
	var copies sync.WaitGroup
	// Its end is what ends the copies, whatever it looks like to them.
	copies.Go(func() { _, _ = io.Copy(out, rand.NewChaCha8([32]byte{})) })
	end = func() {
		out.Close()
		in.Close()
		copies.Wait()
	}
	if _, err := io.CopyN(io.Discard, in, kernelTransfer); err != nil {
		end()
		w.t.Fatalf("transfer %s -> %s: %v", from, to, err)
	}
	copies.Go(func() { _, _ = io.Copy(io.Discard, in) })
	return end
}

// attached is how many programs look at what the uplink of a host receives.
func (w *world) attached(host string) (n int) {
	w.t.Helper()
	if err := w.Host(host).Do(func() error {
		uplink, err := net.InterfaceByName("uplink")
		if err != nil {
			return err
		}
		result, err := link.QueryPrograms(link.QueryOptions{Target: uplink.Index, Attach: ebpf.AttachTCXIngress})
		if err == nil {
			n = len(result.Programs)
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// captureUplink captures the datagrams that a host sends (src) or receives (dst).
func (w *world) captureUplink(host, direction string) *lab.Capture {
	w.t.Helper()
	addrs := map[string]string{"client1": client1Addr, "client2": "192.168.2.2", "relay": lab.RelayAddr}
	capture, err := w.Host(host).Capture("uplink", "udp and "+direction+" host "+addrs[host])
	if err != nil {
		w.t.Fatal(err)
	}
	return capture
}

// wantFinished checks that a capture has packets of TCP, and that each of these is a whole one. The kernel captures datagrams
// that were sent in a burst as one, before it cuts that up (UDP_SEGMENT): several packets, one after the other.
func (w *world) wantFinished(capture *lab.Capture) {
	w.t.Helper()
	packets, bad := 0, 0
	for _, d := range w.datagrams(capture) {
		for b := d.udp.Payload; len(b) >= teredo.HeaderLen && b[0]>>4 == 6; {
			size := teredo.HeaderLen + int(binary.BigEndian.Uint16(b[4:]))
			if size > teredo.MTU || size > len(b) {
				w.t.Errorf("an IPv6 packet of %d bytes in a datagram of %d", size, len(d.udp.Payload))
				return
			}
			if teredo.NextHeader(b) == unix.IPPROTO_TCP {
				packets++
				if !checksumFits(b[:size]) {
					bad++
				}
			}
			b = b[size:]
		}
	}
	if bad > 0 || packets < kernelPackets/10 {
		w.t.Errorf("%d of %d TCP packets have a wrong checksum", bad, packets)
	}
}

// datagram is one of a capture.
type datagram struct {
	ip  *layers.IPv4
	udp *layers.UDP
}

// datagrams ends a capture and reads its datagrams that carry something.
func (w *world) datagrams(capture *lab.Capture) (all []datagram) {
	w.t.Helper()
	if err := capture.Stop(); err != nil {
		w.t.Fatal(err)
	}
	file, err := os.ReadFile(capture.File)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := pcapgo.NewReader(bytes.NewReader(file))
	if err != nil {
		w.t.Fatal(err)
	}
	for {
		frame, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			w.t.Fatal(err)
		}
		p := gopacket.NewPacket(frame, r.LinkType(), gopacket.Default)
		ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if ip != nil && udp != nil && len(udp.Payload) > 0 && !toGateway(udp) {
			all = append(all, datagram{ip, udp})
		}
	}
}

// toGateway reports whether a datagram asks a gateway for a port mapping, by SSDP, PCP or NAT-PMP.
func toGateway(udp *layers.UDP) bool { return udp.DstPort == 1900 || udp.DstPort == 5351 }
