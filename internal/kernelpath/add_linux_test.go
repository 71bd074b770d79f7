package kernelpath

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// town is a host with two virtual links and the TUN device. Our side's IPv6 address is its own.
type town struct{ east, west netlink.Link }

func newTown(t *testing.T) town {
	t.Helper()
	inNamespace(t)
	withoutIPv6(t)
	newTUN(t, false)
	var w town
	w.east, _ = newVeth(t, "east", "east-far")
	w.west, _ = newVeth(t, "west", "west-far")
	addAddress(t, w.east, "192.0.2.1/24")
	addAddress(t, w.east, "192.0.2.7/24")
	addAddress(t, w.west, "198.51.100.1/24")
	addRoute(t, w.west, "203.0.113.0/24")
	addAddress(t, linkOf(t, "lo"), testEnds().Local.String()+"/128")
	return w
}

// The route to the endpoint says which uplink a flow has, and which address its datagrams come from.
func TestAddUplink(t *testing.T) {
	w := newTown(t)
	for _, test := range []struct {
		name, local, remote, source string
		uplink                      netlink.Link
	}{
		{"unbound, neighbour", "0.0.0.0:40000", "192.0.2.9:50000", "192.0.2.1", w.east},
		{"unbound, by a route", "0.0.0.0:40000", "203.0.113.5:50000", "198.51.100.1", w.west},
		{"bound to the first address", "192.0.2.1:40000", "192.0.2.9:50000", "192.0.2.1", w.east},
		{"bound to the second address", "192.0.2.7:40000", "192.0.2.9:50000", "192.0.2.7", w.east},
		{"bound to an address of another interface", "192.0.2.7:40000", "203.0.113.5:50000", "192.0.2.7", w.west},
	} {
		// Not a subtest, which would be in the first namespace.
		p, err := Open(tunName, netip.MustParseAddrPort(test.local), 16, nil, quiet)
		must(t, err)
		e, before := testEnds(), time.Now()
		introduce, err := p.Add(e.Flow, netip.MustParseAddrPort(test.remote), before)
		if err != nil || !introduce {
			t.Errorf("%s: introduce %v, error %v", test.name, introduce, err)
			must(t, p.Close())
			continue
		}
		e.near = netip.MustParseAddrPort(test.source + ":40000")
		e.far = netip.MustParseAddrPort(test.remote)
		want, got := e.value(test.uplink.Attrs().Index, before, false), get(t, p, e.Flow)
		want.Sent, want.Received, want.Heard = 0, 0, got.Heard
		if got != want {
			t.Errorf("%s: flow is %+v, want %+v", test.name, got, want)
		}
		if indexes := uplinks(p); !slices.Equal(indexes, []int{test.uplink.Attrs().Index}) {
			t.Errorf("%s: uplinks %v", test.name, indexes)
		}
		must(t, p.Close())
	}
}

func uplinks(p *Path) (indexes []int) {
	for index := range p.uplinks {
		indexes = append(indexes, index)
	}
	return indexes
}

// Where the kernel cannot take datagrams, the program does.
func TestAddRefused(t *testing.T) {
	w := newTown(t)
	addRoute(t, linkOf(t, tunName), "198.18.0.0/15")
	p := openPath(t, netip.MustParseAddrPort("0.0.0.0:40000"), 16)
	flow := testEnds().Flow
	must(t, netlink.LinkSetMTU(w.east, teredo.MTU+outerLen-1))
	for _, test := range []struct {
		name, remote string
		want         error
	}{
		{"through the tunnel", "198.18.0.1:50000", errNoUplink},
		{"loopback", "127.0.0.1:50000", errNoUplink},
		{"own address", "198.51.100.1:50000", errNoUplink},
		{"MTU 1307", "192.0.2.9:50000", errNoUplink},
		{"no route", "8.8.8.8:50000", unix.ENETUNREACH},
	} {
		if _, err := p.Add(flow, netip.MustParseAddrPort(test.remote), time.Now()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if _, err := p.Usage(flow); !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Errorf("%s: the flow is there: %v", test.name, err)
		}
	}
	must(t, netlink.LinkSetMTU(w.east, teredo.MTU+outerLen))
	if _, err := p.Add(flow, netip.MustParseAddrPort("192.0.2.9:50000"), time.Now()); err != nil {
		t.Errorf("MTU 1308: %v", err)
	}
}

// An uplink may lead to an endpoint while this host has no IPv4 address to send from.
func TestAddNoSource(t *testing.T) {
	inNamespace(t)
	newTUN(t, false)
	uplink, _ := newVeth(t, "uplink", "uplink-far")
	addRoute(t, uplink, "192.0.2.0/24")
	e := testEnds()
	addAddress(t, linkOf(t, "lo"), e.Local.String()+"/128")
	p := openPath(t, netip.MustParseAddrPort("0.0.0.0:40000"), 16)
	if _, err := p.Add(e.Flow, e.far, time.Now()); !errors.Is(err, errNoUplink) {
		t.Error(err)
	}
}

// Over a physical link no introduction is needed, and flows are open at once.
func TestAddPhysical(t *testing.T) {
	newTown(t)
	tap := newTAP(t, "tap")
	addRoute(t, tap, "203.0.113.128/25")
	p := openPath(t, netip.MustParseAddrPort("0.0.0.0:40000"), 16)
	e := testEnds()
	e.far = netip.MustParseAddrPort("203.0.113.129:50000")
	if introduce, err := p.Add(e.Flow, e.far, time.Now()); introduce || err != nil {
		t.Errorf("introduce %v, error %v", introduce, err)
	}
	if usage, err := p.Usage(e.Flow); !usage.Open || err != nil {
		t.Errorf("usage %+v, error %v", usage, err)
	}
	if !get(t, p, e.Flow).Physical {
		t.Error("its datagrams have no checksum")
	}
	must(t, p.Shut(e.Flow))
	if usage, err := p.Usage(e.Flow); usage.Open || err != nil {
		t.Errorf("shut: usage %+v, error %v", usage, err)
	}
	_, err := p.Add(e.Flow, e.far, time.Now())
	must(t, err)
	if usage, err := p.Usage(e.Flow); !usage.Open || err != nil {
		t.Errorf("added again: usage %+v, error %v", usage, err)
	}
}

// The program sends the packets of a shut flow, and the kernel delivers what comes.
func TestShut(t *testing.T) {
	w := newWire(t)
	w.attachUplink(t)
	if err := w.Shut(w.Flow); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("before it is there: %v", err)
	}
	w.put(t, heardJustNow, true)
	must(t, w.Shut(w.Flow))
	packet := w.ipv6(udp, []byte("out"))
	must(t, w.Send(packet))
	if got := receive(t, w.tun); !bytes.Equal(got, packet) {
		t.Errorf("the program gets %x\nwant             %x", got, packet)
	}
	inside := packetSocket(t, unix.SOCK_DGRAM, linkOf(t, tunName), unix.ETH_P_IPV6)
	frame := w.answer(w.swapped().ipv6(udp, []byte("in")))
	_, err := unix.Write(w.link, frame)
	must(t, err)
	if got := receive(t, inside); !bytes.Equal(got, frame[headersLen:]) {
		t.Errorf("got  %x\nwant %x", got, frame[headersLen:])
	}
}

// GSO and CHECKSUM_PARTIAL packets may go on to hosts behind a virtual link only: hardware could not handle the encapsulation mark.
func TestAddInside(t *testing.T) {
	inNamespace(t) // with IPv6 on the links
	newTUN(t, false)
	uplink, _ := newVeth(t, "uplink", "uplink-far")
	addAddress(t, uplink, "192.0.2.1/24")
	virtual, _ := newVeth(t, "virtual", "virtual-far")
	addRoute(t, virtual, "2001:db8:1::/64")
	physical := newTAP(t, "physical")
	addRoute(t, physical, "203.0.113.128/25")
	addRoute(t, physical, "2001:db8:2::/64")

	p := openPath(t, netip.MustParseAddrPort("0.0.0.0:40000"), 16)
	e := testEnds()
	for local, want := range map[string]error{"2001:db8:1::1": nil, "2001:db8:2::1": errNoUplink, "2001:db8:3::1": errNoUplink} {
		flow := Flow{netip.MustParseAddr(local), e.Peer}
		if _, err := p.Add(flow, e.far, time.Now()); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", local, err, want)
		}
	}
	e.far = netip.MustParseAddrPort("203.0.113.129:50000")
	if _, err := p.Add(Flow{netip.MustParseAddr("2001:db8:2::1"), e.Peer}, e.far, time.Now()); err != nil {
		t.Errorf("over a physical link: %v", err)
	}
}

// A flow that is added again keeps what is known of it. At another endpoint nobody has shown that it is open.
func TestAddAgain(t *testing.T) {
	newTown(t)
	p := openPath(t, netip.MustParseAddrPort("0.0.0.0:40000"), 16)
	e := testEnds()
	_, err := p.Add(e.Flow, e.far, time.Now().Add(-10*time.Second))
	must(t, err)
	known := get(t, p, e.Flow)
	known.Sent, known.Received, known.SentBytes, known.ReceivedBytes, known.Open = 5, 7, 500, 700, true
	known.Encapsulated, known.Introduced, known.Last, known.Answered, known.Brisk = 7, 8, 11, 12, 13
	known.Out.Until, known.Out.Handed, known.In.Until, known.In.Handed = 9, 14, 10, 15
	put(t, p, e.Flow, known)

	_, err = p.Add(e.Flow, e.far, time.Now().Add(-20*time.Second))
	must(t, err)
	if got := get(t, p, e.Flow); got != known {
		t.Errorf("heard of earlier: flow is %+v, want %+v", got, known)
	}
	_, err = p.Add(e.Flow, e.far, time.Now().Add(-5*time.Second))
	must(t, err)
	got := get(t, p, e.Flow)
	if got.Heard <= known.Heard {
		t.Errorf("heard of later: at %d, was %d", got.Heard, known.Heard)
	}
	if known.Heard = got.Heard; got != known {
		t.Errorf("heard of later: flow is %+v, want %+v", got, known)
	}
	for _, far := range []string{"192.0.2.2:50001", "192.0.2.3:50001", "203.0.113.5:50001"} {
		known.Open = true
		put(t, p, e.Flow, known)
		_, err = p.Add(e.Flow, netip.MustParseAddrPort(far), time.Now().Add(-15*time.Second))
		must(t, err)
		got := get(t, p, e.Flow)
		if got.Open || got.Sent != 5 || got.Received != 7 || got.SentBytes != 500 || got.ReceivedBytes != 700 || got.Heard >= known.Heard {
			t.Errorf("%s: flow is %+v, was %+v", far, got, known)
		}
	}
}

// Usage tells the time by the clock that it was told.
func TestUsage(t *testing.T) {
	newTown(t)
	p := openPath(t, netip.MustParseAddrPort("0.0.0.0:40000"), 16)
	e := testEnds()
	for _, age := range []time.Duration{0, 25 * time.Second} {
		must(t, p.Remove(e.Flow))
		heard := time.Now().Add(-age)
		_, err := p.Add(e.Flow, e.far, heard)
		must(t, err)
		value := get(t, p, e.Flow)
		value.Sent, value.Received, value.SentBytes, value.ReceivedBytes = 1<<40, 1<<41, 1<<50, 1<<51
		put(t, p, e.Flow, value)
		usage, err := p.Usage(e.Flow)
		must(t, err)
		if off := usage.Heard.Sub(heard).Abs(); off > 10*time.Second {
			t.Errorf("heard %v ago: off by %v", age, off)
		}
		if usage.Sent != 1<<40 || usage.Received != 1<<41 || usage.SentBytes != 1<<50 || usage.ReceivedBytes != 1<<51 || usage.Open || usage.NoBursts {
			t.Errorf("usage %+v", usage)
		}
	}
}

func TestRemove(t *testing.T) {
	newTown(t)
	p := openPath(t, netip.MustParseAddrPort("0.0.0.0:40000"), 16)
	e := testEnds()
	if err := p.Remove(e.Flow); err != nil {
		t.Errorf("unknown flow: %v", err)
	}
	_, err := p.Add(e.Flow, e.far, time.Now())
	must(t, err)
	must(t, p.Remove(e.Flow))
	if _, err := p.Usage(e.Flow); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("the flow is there: %v", err)
	}
}

// There is room for so many flows. One that is there can be added again.
func TestCapacity(t *testing.T) {
	newTown(t)
	const most = 4
	p := openPath(t, netip.MustParseAddrPort("0.0.0.0:40000"), most)
	e := testEnds()
	var flows []Flow
	for range most {
		_, err := p.Add(e.Flow, e.far, time.Now())
		must(t, err)
		flows = append(flows, e.Flow)
		e.Peer = e.Peer.Next()
	}
	if _, err := p.Add(e.Flow, e.far, time.Now()); !errors.Is(err, unix.E2BIG) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := p.Add(flows[0], e.far, time.Now()); err != nil {
		t.Errorf("again: %v", err)
	}
	must(t, p.Remove(flows[1]))
	if _, err := p.Add(e.Flow, e.far, time.Now()); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}

func TestOpenUnknownInterface(t *testing.T) {
	inNamespace(t)
	if _, err := Open("nowhere", testEnds().near, 16, nil, quiet); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Error(err)
	}
}

// Whichever capability is missing, the error names those that are needed. CAP_SYS_ADMIN stands for two of them.
func TestOpenWithoutCapability(t *testing.T) {
	for name, missing := range map[string][]int{
		"BPF":       {unix.CAP_BPF, unix.CAP_SYS_ADMIN},
		"PERFMON":   {unix.CAP_PERFMON, unix.CAP_SYS_ADMIN},
		"NET_ADMIN": {unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN},
		"NET_RAW":   {unix.CAP_NET_RAW},
	} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			newTUN(t, false)
			drop(t, missing...)
			_, err := Open(tunName, testEnds().near, 16, nil, quiet)
			const sentence = "the kernel path needs root, or the capabilities CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_NET_RAW"
			if err == nil || !strings.HasPrefix(err.Error(), sentence) {
				t.Error(err)
			}
		})
	}
}

// Those that are named are enough.
func TestOpenWithCapabilities(t *testing.T) {
	inNamespace(t)
	newTUN(t, false)
	keep := []int{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}
	var others []int
	for c := range unix.CAP_LAST_CAP + 1 {
		if !slices.Contains(keep, c) {
			others = append(others, c)
		}
	}
	drop(t, others...)
	openPath(t, testEnds().near, 16)
}

// drop takes capabilities from the thread, which ends with the test.
func drop(t *testing.T, capabilities ...int) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	must(t, unix.Capget(&header, &data[0]))
	for _, c := range capabilities {
		data[c/32].Effective &^= 1 << (c % 32)
		data[c/32].Permitted &^= 1 << (c % 32)
	}
	must(t, unix.Capset(&header, &data[0]))
}
