//go:build linux

package integration

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// finishing has the virtual uplinks of hosts finish packets before they pass them on, as network cards do.
func (w *world) finishing(hosts ...string) {
	w.t.Helper()
	for _, host := range hosts {
		w.run(host, "ethtool", "-K", "uplink", "tx-udp_tnl-segmentation", "off", "tx-udp_tnl-csum-segmentation", "off",
			"tx-checksum-ip-generic", "off", "tso", "off")
	}
}

// TestKernelPathChecksum has a NAT drop datagrams without a UDP checksum. No ping may be lost then, and TCP must flow, whoever
// is at the other end.
func TestKernelPathChecksum(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		relay, client1 implementation
		flags          map[string]string // of ours, by host
		to             string
		tells          string // the end whose kernel must find out
	}{
		{"client and relay", ours, ours, nil, "native", "client1"},
		{"two clients", ours, ours, nil, "client2", "client2"},
		{"off at the client", ours, ours, map[string]string{"client1": "--kernel-path=off"}, "native", "relay"},
		{"off at the relay", ours, ours, map[string]string{"relay": "--kernel-path=off"}, "native", "client1"},
		{"Miredo's client", ours, miredo, nil, "native", "relay"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.record()
			w.finishing("client1", "client2", "relay")
			w.run("nat1", "nft", "table ip checksum { chain prerouting { type filter hook prerouting priority raw; udp checksum 0 drop; }; }")
			flags := func(host string) []string { return strings.Fields(tt.flags[host]) }
			w.startServer(ours)
			ends := programs{"relay": w.startRelay(tt.relay, flags("relay")...)}
			var addr netip.Addr
			ends["client1"], addr = w.startClient("client1", tt.client1, flags("client1")...)
			to := netip.MustParseAddr(lab.NativeAddr)
			if tt.to == "client2" {
				ends["client2"], to = w.startClient("client2", ours)
			}
			w.ping("client1", to)
			pings := func() {
				t.Helper()
				for from, to := range map[string]netip.Addr{"client1": to, tt.to: addr} {
					out, err := w.Host(from).Run(startTimeout, "ping", "-6", "-n", "-i", "0.05", "-c", "30", "-W", "5", to.String())
					if err != nil || !strings.Contains(out, " 0% packet loss") {
						t.Errorf("ping %s -> %v: %v, %s", from, to, err, out)
					}
				}
			}
			pings()
			told := func() error {
				for range 2 {
					w.transfer("client1", tt.to, to, kernelTransfer)
					w.transfer(tt.to, "client1", addr, kernelTransfer)
				}
				if s := w.kernelStatus(tt.tells); s.Offloads.NoBursts == 0 {
					return fmt.Errorf("status of %s: %+v", tt.tells, s)
				}
				return nil
			}
			w.until(ends[tt.tells], transferTimeout, "the status to tell what the NAT does", told)
			if log := ends[tt.tells].Log(); strings.Count(log, "drops datagrams without a UDP checksum") != 1 {
				t.Errorf("the log does not tell once what the NAT does:\n%s", log)
			}
			pings()
		})
	}
}

// TestKernelPathFinished has packets leave finished, on a way where nobody minds: the kernel carries TCP both ways. What the
// kernel carries the interface does not count.
func TestKernelPathFinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	w.finishing("client1", "relay")
	addr, ends := w.startCarriers()
	native := netip.MustParseAddr(lab.NativeAddr)
	w.untilCarried("client1", native, ends)
	for _, way := range []struct {
		from, to, sender string
		addr             netip.Addr
	}{{"client1", "native", "client1", native}, {"native", "client1", "relay", addr}} {
		w.until(ends[way.sender], transferTimeout, "the kernel to carry TCP from "+way.from, func() error {
			status, interfaces := w.kernelStatus(way.sender).SentBytes, w.interfaceSent(way.sender)
			w.transfer(way.from, way.to, way.addr, kernelTransfer)
			if interfaces = w.interfaceSent(way.sender) - interfaces; interfaces > kernelTransfer/4 {
				return fmt.Errorf("%d bytes went to the program", interfaces)
			}
			return lab.Until(startTimeout, "the status to count what the kernel has carried", func() error {
				if sent := w.kernelStatus(way.sender).SentBytes - status; sent < kernelTransfer {
					return fmt.Errorf("%d bytes are sent", sent)
				}
				return nil
			})
		})
	}
	for host := range ends {
		if s := w.kernelStatus(host); s.Offloads.NoBursts != 0 {
			t.Errorf("status of %s: %+v", host, s)
		}
	}
}

// interfaceSent is how many bytes the interface of a host counts as sent.
func (w *world) interfaceSent(host string) (n uint64) {
	w.t.Helper()
	if err := w.Host(host).Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/dev")
		for line := range strings.Lines(string(b)) {
			if name, numbers, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == tun {
				const bytesSent = 8
				n, err = strconv.ParseUint(strings.Fields(numbers)[bytesSent], 10, 64)
			}
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// TestStatusBytes compares the bytes that status and peers show with those that a transfer moved, whoever has carried them.
func TestStatusBytes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"auto", "off"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.startServer(ours)
			ends := programs{"relay": w.startRelay(ours, "--kernel-path="+mode)}
			var addr netip.Addr
			ends["client1"], addr = w.startClient("client1", ours, "--kernel-path="+mode)
			native := netip.MustParseAddr(lab.NativeAddr)
			if mode == "auto" {
				w.untilCarried("client1", native, ends)
			} else {
				w.ping("client1", native)
			}
			type usage struct {
				Sent     uint64 `json:"sent_bytes"`
				Received uint64 `json:"received_bytes"`
			}
			read := func(host string) (status, peer usage) {
				t.Helper()
				role := strings.TrimRight(host, "12")
				var peers []usage
				for what, v := range map[string]any{"status": &status, "peers": &peers} {
					if err := json.Unmarshal([]byte(w.query(host, role, what)), v); err != nil {
						t.Fatal(err)
					}
				}
				if len(peers) != 1 {
					t.Fatalf("%d peers of %s", len(peers), host)
				}
				return status, peers[0]
			}
			before := make(map[string][2]usage)
			for host := range ends {
				status, peer := read(host)
				before[host] = [2]usage{status, peer}
			}
			w.transfer("client1", "native", native, kernelTransfer)
			w.transfer("native", "client1", addr, kernelTransfer)
			// With the headers of IPv6 and TCP, and less than as much again for acknowledgements and what was lost on a busy machine.
			least, most := uint64(kernelTransfer+60*kernelPackets), uint64(2*kernelTransfer)
			for host, p := range ends { // what the kernel has carried counts within a second
				w.until(p, startTimeout, "status and peers of "+host+" to count the bytes", func() error {
					status, peer := read(host)
					for i, now := range []usage{status, peer} {
						for _, n := range []uint64{now.Sent - before[host][i].Sent, now.Received - before[host][i].Received} {
							if n < least || n > most {
								return fmt.Errorf("status and peer %d: %d bytes, want %d to %d", i, n, least, most)
							}
						}
					}
					return nil
				})
			}
		})
	}
}

// checksumFits checks the TCP checksum of an IPv6 packet without extension headers (RFC 8200 §8.1).
func checksumFits(packet []byte) bool {
	sum := uint32(len(packet)-teredo.HeaderLen) + unix.IPPROTO_TCP
	b := packet[8:] // addresses, and the rest
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return sum == 0xffff
}
