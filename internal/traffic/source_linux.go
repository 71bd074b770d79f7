package traffic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bootID    = "/proc/sys/kernel/random/boot_id"
	namespace = "/proc/self/ns/net"

	mostText = 1 << 20 // of a file of counters; /proc/net/dev has a line for each interface
)

// Supported tells whether this system has such counters.
const Supported = true

// Source reads the kernel's counters of the network namespace that it was opened in. Its files stay open, so a program that is
// confined meanwhile can read them.
type Source struct {
	boot, namespace              string
	ipv4, ipv6, links, loopback6 *os.File
	device                       *os.File // nil: the tunnel has no interface
	carried                      func() (inner, outer uint64)
}

// Open opens the counters of this host and of a tunnel. The tunnel has an interface with the name, or none when that is empty. carried
// tells how many bytes the IPv6 packets had that the program has carried since it started, and the IPv4 packets around them.
func Open(ifname string, carried func() (inner, outer uint64)) (s *Source, err error) {
	s = &Source{carried: carried}
	defer func() {
		if err != nil {
			s.Close()
			s, err = nil, fmt.Errorf("open the counters of this host: %w", err)
		}
	}()
	boot, err := os.ReadFile(bootID)
	if err != nil {
		return s, err
	}
	s.boot = strings.TrimSpace(string(boot))
	if s.namespace, err = os.Readlink(namespace); err != nil {
		return s, err
	}
	for _, f := range []struct {
		to   **os.File
		path string
	}{
		{&s.ipv4, "/proc/net/netstat"}, {&s.ipv6, "/proc/net/snmp6"}, {&s.links, "/proc/net/dev"}, {&s.loopback6, "/proc/net/dev_snmp6/lo"},
		{&s.device, "/proc/net/dev_snmp6/" + ifname},
	} {
		if f.to == &s.device && ifname == "" {
			continue
		}
		if *f.to, err = os.Open(f.path); err != nil {
			return s, err
		}
	}
	return s, nil
}

// Close closes the files.
func (s *Source) Close() {
	for _, f := range []*os.File{s.ipv4, s.ipv6, s.links, s.loopback6, s.device} {
		f.Close()
	}
}

// Read reads the counters. What is to be taken out of others is read before these.
func (s *Source) Read() (r Reading, err error) {
	r = Reading{Boot: s.boot, Namespace: s.namespace}
	r.Tunnel.Teredo, r.Tunnel.InIPv4 = s.carried()
	if s.device != nil {
		if r.Tunnel.InIPv6, err = read(s.device, octets6); err != nil {
			return r, err
		}
		r.Tunnel.Teredo = r.Tunnel.InIPv6
	}
	var now unix.Timespec
	loopback, err1 := read(s.links, linkOctets)
	loopback6, err2 := read(s.loopback6, octets6)
	ipv6, err3 := read(s.ipv6, octets6)
	ipv4, err4 := read(s.ipv4, octets4)
	r.Host = Host{IPv4: ipv4, IPv6: ipv6, Loopback: loopback, Loopback6: loopback6}
	err = errors.Join(err1, err2, err3, err4, unix.ClockGettime(unix.CLOCK_BOOTTIME, &now))
	r.Uptime = time.Duration(now.Nano())
	return r, err
}

// read reads a file from its beginning, and what parse finds there.
func read(f *os.File, parse func(text []byte) (uint64, bool)) (uint64, error) {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, mostText))
	if err != nil {
		return 0, err
	}
	n, ok := parse(text)
	if !ok {
		return 0, fmt.Errorf("%s has no count of bytes", f.Name())
	}
	return n, nil
}

// sum adds counts up. There must be two: of bytes in, and of bytes out.
func sum(counts ...[]byte) (total uint64, ok bool) {
	if len(counts) != 2 {
		return 0, false
	}
	for _, c := range counts {
		n, err := strconv.ParseUint(string(c), 10, 64)
		if err != nil {
			return 0, false
		}
		total += n
	}
	return total, true
}

// octets6 finds the bytes of IPv6 packets in the form of /proc/net/snmp6: lines of name and value.
func octets6(text []byte) (uint64, bool) {
	var counts [][]byte
	for line := range bytes.Lines(text) {
		if words := bytes.Fields(line); len(words) == 2 && isOctets(words[0], "Ip6") {
			counts = append(counts, words[1])
		}
	}
	return sum(counts...)
}

// octets4 finds the bytes of IPv4 packets in the form of /proc/net/netstat: a line of names, and one of values below.
func octets4(text []byte) (uint64, bool) {
	var names, counts [][]byte
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		switch {
		case len(words) == 0 || string(words[0]) != "IpExt:":
		case names == nil:
			names = words
		default:
			for i, word := range words[:min(len(words), len(names))] {
				if isOctets(names[i], "") {
					counts = append(counts, word)
				}
			}
		}
	}
	return sum(counts...)
}

func isOctets(name []byte, prefix string) bool {
	return string(name) == prefix+"InOctets" || string(name) == prefix+"OutOctets"
}

// linkOctets finds the bytes that the loopback interface has received and sent in /proc/net/dev. They are those of IP packets: the
// interface counts no header of a link.
func linkOctets(text []byte) (uint64, bool) {
	for line := range bytes.Lines(text) {
		counts, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("lo:"))
		if words := bytes.Fields(counts); ok && len(words) > 8 {
			return sum(words[0], words[8])
		}
	}
	return 0, false
}
