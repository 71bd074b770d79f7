package probe

import (
	"net/netip"
	"strings"
	"testing"
)

// mappingsOf makes mappings to one server of ports 40000, 40001 and so on; to the other address, too, when its mapped ports
// are given.
func mappingsOf(first, second []uint16) (ms []Mapping) {
	inside, outside := netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("203.0.113.1")
	for i, ports := range [][]uint16{first, second} {
		via := netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)})
		for n, port := range ports {
			ms = append(ms, Mapping{netip.AddrPortFrom(inside, uint16(40000+n)), via, netip.AddrPortFrom(outside, port)})
		}
	}
	return ms
}

func TestJudge(t *testing.T) {
	type ports = []uint16
	for name, test := range map[string]struct {
		first, second  ports
		mapping, ports string
	}{
		"nothing":                        {nil, nil, Unknown, Unknown},
		"one answer":                     {ports{5000}, nil, Unknown, Unknown},
		"one port":                       {ports{5000}, ports{5000}, EndpointIndependent, Unknown},
		"one address":                    {ports{5000, 61000, 1300, 9000}, nil, Unknown, Random},
		"random":                         {ports{5000, 61000, 1300, 9000}, ports{5000, 61000, 1300, 9000}, EndpointIndependent, Random},
		"sequential":                     {ports{5000, 5001, 5002, 5003}, ports{5000, 5001, 5002, 5003}, EndpointIndependent, Sequential},
		"by twos":                        {ports{5000, 5002, 5004, 5006}, ports{5008, 5010, 5012, 5014}, Symmetric, Sequential},
		"downward":                       {ports{5000, 4999, 4998, 4997}, nil, Unknown, Sequential},
		"with others in between":         {ports{5000, 5009, 5400, 5401}, ports{5402, 5410, 5411, 5412}, Symmetric, Sequential},
		"around the end":                 {ports{65534, 65535, 1024, 1025}, ports{1026, 1027, 1028, 1029}, Symmetric, Sequential},
		"by chance":                      {ports{5000, 5009, 61000, 1300}, ports{2000, 40, 9000, 30000}, Symmetric, Random},
		"preserved":                      {ports{40000, 40001, 40002, 40003}, ports{40000, 40001, 40002, 40003}, EndpointIndependent, Preserved},
		"preserved, one was taken":       {ports{40000, 1024, 40002, 40003}, nil, Unknown, Preserved},
		"preserved for the first":        {ports{40000, 40001, 40002, 40003}, ports{1024, 1025, 1026, 1027}, Symmetric, Preserved},
		"symmetric, one answer too few":  {ports{5000, 61000, 1300, 9000}, ports{5001}, Symmetric, Random},
		"symmetric for one port of four": {ports{5000, 61000, 1300, 9000}, ports{5000, 61000, 1300, 9001}, Symmetric, Random},
	} {
		n := natOf(mappingsOf(test.first, test.second))
		if n.Mapping != test.mapping || n.Ports != test.ports || n.Preserving != (test.ports == Preserved) {
			t.Errorf("%s: %+v, want mapping %s, ports %s", name, n, test.mapping, test.ports)
		}
	}
	none := []Mapping{{netip.MustParseAddrPort("192.0.2.7:4000"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddrPort("192.0.2.7:4000")}}
	if n := natOf(none); n.Mapping != None || n.Ports != Preserved {
		t.Errorf("without a NAT: %+v", n)
	}
}

// Whatever is known and not known, the words are there and the kind is not better than what is known.
func TestEveryNATHasWords(t *testing.T) {
	mapped := []netip.Addr{netip.MustParseAddr("203.0.113.1")}
	for _, mapping := range []string{None, EndpointIndependent, Symmetric, Unknown} {
		for _, filtering := range []string{EndpointIndependent, AddressOrPortDependent, Unknown} {
			for _, ports := range []string{Preserved, Sequential, Random, Unknown} {
				for _, hairpinning := range []string{Yes, No, Unknown} {
					n := NAT{Mapping: mapping, Filtering: filtering, Ports: ports, Hairpinning: hairpinning, PortMapping: None}
					n.Kind = n.kind(mapped)
					if (n.Kind == Cone) != (filtering == EndpointIndependent && (mapping == None || mapping == EndpointIndependent)) {
						t.Errorf("%+v", n)
					}
					r := Report{Best: "s", Mapped: mapped, NAT: n, Connections: connections(n)}
					for _, row := range append(r.network(), r.Connections.rows()...) {
						if row.name == "" || strings.TrimSpace(row.words) == "" {
							t.Errorf("%+v: row %+v", n, row)
						}
					}
				}
			}
		}
	}
}

// Lines are short, but for words that are long.
func TestWrap(t *testing.T) {
	var b strings.Builder
	writeRows(&b, []row{{"a", strings.Repeat("word ", 60)}, {"name", strings.Repeat("x", 200) + " y"}, {"empty", ""}})
	for i, line := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
		if len(line) > width && !strings.Contains(line, "xxx") || i > 0 && !strings.HasPrefix(line, "  ") {
			t.Errorf("line %d: %q", i, line)
		}
	}
}
