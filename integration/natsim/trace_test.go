package natsim_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/teredo-suite/teredo/integration/natsim"
)

// exchange is the trace of a client that qualifies and pings a native host, as pcapng.
func exchange(t *testing.T) (file []byte, records []natsim.Record) {
	var buf bytes.Buffer
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		srv, host := in.Server(), in.Native()
		in.Relay()
		c := in.NAT(natsim.PortRestricted()).Client(srv)
		c.AwaitAddr(time.Second)
		c.Ping(host.Addr(), "ping")
		if got := c.Next(time.Second); got.Kind() != "echo reply" || got.Data() != "ping" {
			t.Errorf("got %s %q", got.Kind(), got.Data())
		}
		records = in.Trace()
		if err := in.WriteTrace(&buf); err != nil {
			t.Error(err)
		}
	})
	return buf.Bytes(), records
}

func TestTraceIsPcapng(t *testing.T) {
	file, records := exchange(t)
	r, err := pcapgo.NewNgReader(bytes.NewReader(file), pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range records {
		data, info, err := r.ReadPacketData()
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		hop, err := r.Interface(info.InterfaceIndex)
		if err != nil || hop.Name != want.Hop || hop.LinkType != layers.LinkTypeRaw {
			t.Fatalf("packet %d is from %q of type %v, want %q of raw IP, error %v", i, hop.Name, hop.LinkType, want.Hop, err)
		}
		if since := info.Timestamp.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); since != want.At {
			t.Errorf("packet %d is of %v, want %v", i, since, want.At)
		}
		checkHeaders(t, data, want.Packet)
	}
	if _, _, err := r.ReadPacketData(); !errors.Is(err, io.EOF) {
		t.Errorf("more packets than records: %v", err)
	}
}

func checkHeaders(t *testing.T, data []byte, p natsim.Packet) {
	t.Helper()
	if p.Native() {
		if !bytes.Equal(data, p.Payload) {
			t.Errorf("%v: IPv6 packet is %x", p, data)
		}
		return
	}
	packet := gopacket.NewPacket(data, layers.LayerTypeIPv4, gopacket.Default)
	ip, ok1 := packet.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	udp, ok2 := packet.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if !ok1 || !ok2 {
		t.Fatalf("%v: no IPv4 and UDP headers in %x", p, data)
	}
	if !ip.SrcIP.Equal(net.IP(p.Src.Addr().AsSlice())) || !ip.DstIP.Equal(net.IP(p.Dst.Addr().AsSlice())) || ip.TTL != p.TTL {
		t.Errorf("%v: IPv4 header %+v", p, ip)
	}
	if uint16(udp.SrcPort) != p.Src.Port() || uint16(udp.DstPort) != p.Dst.Port() || !bytes.Equal(udp.Payload, p.Payload) {
		t.Errorf("%v: UDP header %+v", p, udp)
	}
}

// icmpType is the ICMPv6 type of what a packet is or carries, empty for other packets.
func icmpType(p natsim.Packet) string {
	switch p.Kind() {
	case "solicitation":
		return "133"
	case "advertisement":
		return "134"
	case "echo request":
		return "128"
	case "echo reply":
		return "129"
	}
	return ""
}

// tshark reads the trace, finds no fault with its checksums, and sees inside the tunnel.
func TestTraceInTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed")
	}
	file, records := exchange(t)
	path := filepath.Join(t.TempDir(), "trace.pcapng")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tshark", "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
		"--enable-heuristic", "teredo_udp", "-T", "fields", "-e", "frame.interface_name", "-e", "icmpv6.type",
		"-e", "ip.checksum.status", "-e", "udp.checksum.status", "-e", "icmpv6.checksum.status").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(records) {
		t.Fatalf("tshark sees %d packets, want %d", len(lines), len(records))
	}
	for i, r := range records {
		const good = "1"
		want := []string{r.Hop, icmpType(r.Packet), good, good, good}
		if r.Packet.Native() {
			want[2], want[3] = "", ""
		}
		if want[1] == "" {
			want[4] = ""
		}
		if got := strings.Split(lines[i], "\t"); !slices.Equal(got, want) {
			t.Errorf("%v: tshark says %q, want %q", r, got, want)
		}
	}
}
