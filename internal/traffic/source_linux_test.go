package traffic

import (
	"net"
	"strings"
	"testing"
)

const netstat = `TcpExt: SyncookiesSent InOctets
TcpExt: 7 8
IpExt: InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets OutOctets InMcastOctets OutMcastOctets
IpExt: 0 0 1 2 3 4 18446744073709551000 615 5 6
MPTcpExt: InOctets OutOctets
MPTcpExt: 1 2
`

const dev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
  eth0: 5 23880    0    0    0     0          0         0  1583653   16221    0    0    0     0       0          0
    lo:1400968768 1669950    0    0    0     0          0         0 1400968769 1669950    0    0    0     0       0          0
`

// The counters are found by their names in what the kernel writes, and nothing is made up where they are not.
func TestParse(t *testing.T) {
	for name, test := range map[string]struct {
		parse func([]byte) (uint64, bool)
		text  string
		want  uint64
		ok    bool
	}{
		"IPv4":                      {octets4, netstat, 18446744073709551615, true},
		"IPv4, names only":          {octets4, "IpExt: InOctets OutOctets\n", 0, false},
		"IPv4, too few values":      {octets4, "IpExt: InOctets OutOctets\nIpExt: 7\n", 0, false},
		"IPv4, more values":         {octets4, "IpExt: InOctets OutOctets\nIpExt: 7 8 9\n", 15, true},
		"IPv4, no number":           {octets4, "IpExt: InOctets OutOctets\nIpExt: 7 -8\n", 0, false},
		"IPv6":                      {octets6, "Ip6InReceives \t9\nIp6InOctets                     \t100\nIp6OutOctets\t23\nIp6InMcastOctets 7\n", 123, true},
		"IPv6, one only":            {octets6, "Ip6InOctets 100\n", 0, false},
		"IPv6, one of another kind": {octets6, "Ip6InOctets 100\nUdp6OutOctets 100\n", 0, false},
		"loopback":                  {linkOctets, dev, 1400968768 + 1400968769, true},
		"loopback is missing":       {linkOctets, strings.ReplaceAll(dev, "lo:", "lo1:"), 0, false},
		"loopback is cut":           {linkOctets, "    lo: 1 2 3", 0, false},
		"nothing":                   {octets4, "", 0, false},
	} {
		if got, ok := test.parse([]byte(test.text)); got != test.want || ok != test.ok {
			t.Errorf("%s: %d, %v; want %d, %v", name, got, ok, test.want, test.ok)
		}
	}
}

// The kernel of this machine has the counters, and they grow with the traffic over loopback by what Host says.
func TestSource(t *testing.T) {
	s, err := Open("", func() (inner, outer uint64) { return 7, 8 })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before, err := s.Read()
	if err != nil || before.Boot == "" || before.Namespace == "" || before.Uptime <= 0 || before.Tunnel != (Tunnel{Teredo: 7, InIPv4: 8}) {
		t.Fatalf("%+v, %v", before, err)
	}
	conn, err := net.Dial("udp", "127.0.0.1:9") // nobody needs to listen
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const payload, count = 10_000, 20
	for range count {
		_, _ = conn.Write(make([]byte, payload)) // fails after the ICMP error of the one before
	}
	after, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	const least = 2 * payload * count / 2 // both ways, and half of them at least were sent
	if n := grown(before.Host.IPv4, after.Host.IPv4); n < least {
		t.Errorf("IPv4 has %d bytes more, want %d at least", n, least)
	}
	if n := grown(before.Host.Loopback, after.Host.Loopback); n < least {
		t.Errorf("loopback has %d bytes more, want %d at least", n, least)
	}
	if _, err := Open("teredo-none", nil); err == nil || !strings.Contains(err.Error(), "teredo-none") {
		t.Errorf("an interface that is missing: %v", err)
	}
}
