//go:build linux

package integration

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestWire captures a session of ours and lets tshark judge every packet of it.
func TestWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	captures := make(map[string]*lab.Capture)
	for _, host := range []string{"server", "relay", "client1", "client2"} {
		capture, err := w.Host(host).Capture("uplink", "udp and not port 1900 and not port 5351") // the latter ask the gateway for a port
		if err != nil {
			t.Fatal(err)
		}
		captures[host] = capture
	}
	ports := w.session()

	innerECN, advertisements := false, false
	for host, capture := range captures {
		if err := capture.Stop(); err != nil {
			t.Fatal(err)
		}
		packets, err := readPackets(capture.File, ports)
		if err != nil || len(packets) == 0 {
			t.Fatalf("%d packets at %s: %v", len(packets), host, err)
		}
		for _, p := range packets {
			if err := p.check(); err != nil {
				t.Errorf("packet at %s: %v: %v", host, err, p)
			}
			innerECN = innerECN || (p["ipv6.tclass.ecn"] == "1" && p["icmpv6.type"] == "128")
			advertisements = advertisements || p["icmpv6.type"] == "134"
		}
	}
	if !innerECN {
		t.Error("the inner ECN field did not survive (ECN-02)")
	}
	if !advertisements {
		t.Error("no router advertisement was captured")
	}
}

// session lets our programs qualify, find each other and transfer data, and returns the clients' UDP ports.
func (w *world) session() (ports []string) {
	w.startServer(ours)
	w.startRelay(ours)
	_, addr1 := w.startClient("client1", ours)
	_, addr2 := w.startClient("client2", ours)
	native := netip.MustParseAddr(lab.NativeAddr)
	w.ping("client1", native)
	w.ping("native", addr2)
	w.ping("client1", addr2)
	for _, to := range []string{lab.NativeAddr, addr2.String()} {
		// An inner packet with ECN 01, which must not show outside.
		if _, err := w.Host("client1").Run(2*pingTimeout, "ping", "-6", "-n", "-c", "1", "-Q", "1", to); err != nil {
			w.t.Error(err)
		}
	}
	const size = 1 << 20
	w.transfer("client1", "client2", addr2, size)
	w.transfer("native", "client1", addr1, size)
	for _, host := range []string{"client1", "client2"} {
		s, err := w.status(host)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, a := range []string{s.Local, s.Mapped} {
			_, port, _ := strings.Cut(a, ":")
			ports = append(ports, port)
		}
	}
	return ports
}

// packetFields are the tshark fields that the tests judge. An absent one is "".
var packetFields = []string{"frame.number", "frame.protocols", "_ws.malformed", "ip.dsfield.ecn", "ip.flags.df",
	"ipv6.tclass.ecn", "icmpv6.type", "icmpv6.checksum.status", "ip.len", "ip.src", "ip.dst", "ip.id",
	"ip.checksum.status", "udp.checksum.status", "tcp.checksum.status"}

// packet maps packetFields to what tshark read in a packet.
type packet map[string]string

// check returns what is wrong with a packet of ours.
func (p packet) check() error {
	const correct = "1"
	switch status := p["icmpv6.checksum.status"]; {
	case p["_ws.malformed"] != "":
		return fmt.Errorf("malformed")
	case !slices.Contains(strings.Split(p["frame.protocols"], ":"), "teredo"):
		return fmt.Errorf("not Teredo")
	case p["ip.dsfield.ecn"] != "0":
		return fmt.Errorf("outer ECN field is not zero (ECN-01)")
	case p["ip.flags.df"] != "False" && p["ip.flags.df"] != "0":
		return fmt.Errorf("DF is set (C-CFG-03)")
	case status != "" && status != correct:
		return fmt.Errorf("wrong ICMPv6 checksum")
	}
	return nil
}

// readPackets reads a capture. Packets of Teredo's ports and of the given ones are read as Teredo.
func readPackets(file string, ports []string, options ...string) ([]packet, error) {
	args := slices.Concat(teredoPorts(ports), options, []string{"-r", file, "-T", "fields"})
	for _, field := range packetFields {
		args = append(args, "-e", field)
	}
	out, err := tshark(args)
	if err != nil {
		return nil, err
	}
	var packets []packet
	for line := range strings.Lines(out) {
		p := make(packet)
		for i, value := range strings.Split(strings.TrimSuffix(line, "\n"), "\t") {
			p[packetFields[i]] = value
		}
		packets = append(packets, p)
	}
	return packets, nil
}

// dissect describes each packet of a capture in a line.
func dissect(file string) (string, error) { return tshark(append(teredoPorts(nil), "-r", file)) }

// teredoPorts are tshark's options to read UDP on the relay's port and on the given ones as Teredo.
func teredoPorts(ports []string) []string {
	options := []string{"-n"}
	for _, port := range append([]string{fmt.Sprint(relayPort)}, ports...) {
		options = append(options, "-d", "udp.port=="+port+",teredo")
	}
	return options
}

func tshark(args []string) (string, error) {
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		err = fmt.Errorf("tshark %s: %w", strings.Join(args, " "), err)
	}
	return string(out), err
}
