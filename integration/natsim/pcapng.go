package natsim

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// WriteTrace writes the trace as pcapng, for instance for tshark. Each hop is an interface, and a comment says what happened
// to the packet there.
func (in *Internet) WriteTrace(w io.Writer) error { return writeTrace(w, in.Trace(), in) }

func writeTrace(w io.Writer, records []Record, in *Internet) error {
	var ng *pcapgo.NgWriter
	hops := make(map[string]int)
	for _, r := range records {
		hop, known := hops[r.Hop]
		if !known {
			var err error
			if hop, err = addHop(&ng, w, r.Hop); err != nil {
				return fmt.Errorf("write the trace: %w", err)
			}
			hops[r.Hop] = hop
		}
		if err := writeRecord(ng, hop, r, in); err != nil {
			return fmt.Errorf("write the trace: %w", err)
		}
	}
	if ng == nil {
		return nil
	}
	return ng.Flush()
}

// addHop adds an interface. The first one makes the writer.
func addHop(ng **pcapgo.NgWriter, w io.Writer, name string) (id int, err error) {
	intf := pcapgo.NgInterface{Name: name, LinkType: layers.LinkTypeRaw, TimestampResolution: 9}
	if *ng != nil {
		return (*ng).AddInterface(intf)
	}
	*ng, err = pcapgo.NewNgWriterInterface(w, intf, pcapgo.NgWriterOptions{
		SectionInfo: pcapgo.NgSectionInfo{Application: "natsim"},
	})
	return 0, err
}

func writeRecord(ng *pcapgo.NgWriter, hop int, r Record, in *Internet) error {
	data, err := r.Packet.wire()
	if err != nil {
		return err
	}
	comment := fmt.Sprintf("#%d %v", r.Packet.ID, r.Event)
	if r.Why != "" {
		comment += ": " + r.Why
	}
	info := gopacket.CaptureInfo{
		Timestamp: in.started.Add(r.At), CaptureLength: len(data), Length: len(data), InterfaceIndex: hop,
	}
	return ng.WritePacketWithOptions(info, data, pcapgo.NgPacketOptions{Comments: []string{comment}})
}

// wire is the packet with its headers.
func (p Packet) wire() ([]byte, error) {
	if p.Native() {
		return p.Payload, nil
	}
	ip := &layers.IPv4{
		Version: 4, TTL: p.TTL, Id: uint16(p.ID), Protocol: layers.IPProtocolUDP,
		SrcIP: net.IP(p.Src.Addr().AsSlice()), DstIP: net.IP(p.Dst.Addr().AsSlice()),
	}
	udp := &layers.UDP{SrcPort: layers.UDPPort(p.Src.Port()), DstPort: layers.UDPPort(p.Dst.Port())}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, err
	}
	buf := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, options, ip, udp, gopacket.Payload(p.Payload)); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// report says how to see again what went wrong. The clock has stopped.
func (in *Internet) report() {
	in.t.Logf("replay with: %s=%d %s", seedVariable, in.seed, in.replay())
	path, err := in.saveTrace()
	if err != nil {
		in.t.Logf("no packet trace: %v", err)
		return
	}
	in.t.Logf("packet trace: tshark -r %s", path)
}

// replay is the command that runs this test alone.
func (in *Internet) replay() string {
	pkg := "."
	if info, ok := debug.ReadBuildInfo(); ok && info.Path != "" {
		pkg = strings.TrimSuffix(info.Path, ".test")
	}
	var pattern []string
	for name := range strings.SplitSeq(in.t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(name)+"$")
	}
	return fmt.Sprintf("go test %s -count=1 -run '%s'", pkg, strings.Join(pattern, "/"))
}

// saveTrace writes the trace to where it outlives the test: with -artifacts among those, else in a temporary folder.
func (in *Internet) saveTrace() (path string, err error) {
	folder := in.t.ArtifactDir()
	if f := flag.Lookup("test.artifacts"); f == nil || f.Value.String() != "true" {
		if folder, err = os.MkdirTemp("", "natsim"); err != nil {
			return "", err
		}
	}
	path = filepath.Join(folder, "trace.pcapng")
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	if err := writeTrace(file, in.trace.records, in); err != nil {
		file.Close()
		return "", err
	}
	return path, file.Close()
}
