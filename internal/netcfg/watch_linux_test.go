package netcfg

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// watched starts a watch in a namespace with two Ethernet interfaces, where nothing happens by itself any more.
func watched(t *testing.T, except string) (changes <-chan Change, native netlink.Link) {
	t.Helper()
	set(t, "default", "addr_gen_mode", "1")
	native = newNative(t, "native", "192.0.2.2/24", "2001:db8::2/64")
	newNative(t, "other", "198.51.100.2/24", "2001:db8:1::2/64")
	changes, err := Watch(t.Context(), except)
	must(t, err)
	eventually(t, "carriers", func() bool {
		links, err := netlink.LinkList()
		must(t, err)
		return !slices.ContainsFunc(links, func(l netlink.Link) bool {
			return l.Type() == "veth" && l.Attrs().OperState != netlink.OperUp
		})
	})
	for { // the kernel does some of its work on new addresses later, and nothing tells when it is over
		select {
		case <-changes:
		case <-time.After(3 * debounce):
			return changes, native
		}
	}
}

// eventually waits for what the kernel does in its own time.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// next returns the next change.
func next(t *testing.T, changes <-chan Change) Change {
	t.Helper()
	select {
	case c, ok := <-changes:
		if !ok {
			t.Fatal("the watch has ended")
		}
		return c
	case <-time.After(patience):
		t.Fatal("no change was told")
	}
	return Change{}
}

func TestWatch(t *testing.T) {
	inNamespace(t)
	changes, native := watched(t, "")
	steps := []struct {
		name string
		do   func() error
		want func(Change) bool
	}{
		{"an IPv4 address comes", func() error { return netlink.AddrAdd(native, addrOf("192.0.2.3/24")) }, Change.addresses},
		{"an IPv4 address goes", func() error { return netlink.AddrDel(native, addrOf("192.0.2.3/24")) }, Change.addresses},
		{"an IPv6 address comes", func() error { return netlink.AddrAdd(native, addrOf("2001:db8::3/64")) }, Change.addresses},
		{"an IPv6 address goes", func() error { return netlink.AddrDel(native, addrOf("2001:db8::3/64")) }, Change.addresses},
		{"an IPv4 default route comes", func() error { return defaultVia("192.0.2.1", netlink.RouteAdd) }, Change.routes},
		{"it moves to another interface", func() error { return defaultVia("198.51.100.1", netlink.RouteReplace) }, Change.routes},
		{"an IPv6 default route comes", func() error { return defaultVia("2001:db8::1", netlink.RouteAdd) }, Change.routes},
		{"it moves to another interface", func() error { return defaultVia("2001:db8:1::1", netlink.RouteReplace) }, Change.routes},
		{"it goes", func() error { return defaultVia("2001:db8:1::1", netlink.RouteDel) }, Change.routes},
		{"a routing rule comes", addRule, Change.routes},
		{"an interface goes down", func() error { return netlink.LinkSetDown(native) }, func(c Change) bool { return c.Links && c.Addresses }},
		{"an interface goes up", func() error { return netlink.LinkSetUp(native) }, func(c Change) bool { return c.Links }},
		{"an interface goes", func() error { return netlink.LinkDel(native) }, func(c Change) bool { return c.Links }},
	}
	for _, step := range steps {
		must(t, step.do())
		for !step.want(next(t, changes)) { // the kernel tells of an interface's state when it likes
			t.Logf("%s: a change of another kind", step.name)
		}
	}
}

// addresses and routes report whether a change is of this kind, and the interfaces are as they were.
func (c Change) addresses() bool { return c.Addresses && !c.Links && !c.Resumed }
func (c Change) routes() bool    { return c == Change{Routes: true} }

func addrOf(prefix string) *netlink.Addr {
	return &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(prefix)), Flags: unix.IFA_F_NODAD}
}

func defaultVia(gateway string, change func(*netlink.Route) error) error {
	gw := netip.MustParseAddr(gateway)
	everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if gw.Is6() {
		everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return change(&netlink.Route{Dst: ipNet(everywhere), Gw: net.IP(gw.AsSlice()), Priority: 100})
}

func addRule() error {
	rule := netlink.NewRule()
	rule.Family, rule.Table, rule.Mark = netlink.FAMILY_V6, 51820, 7
	return netlink.RuleAdd(rule)
}

// What happens at the own interface is told apart from all else.
func TestWatchOwnInterface(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	changes, _ := watched(t, tunName)
	addr := netip.MustParseAddr(addr1)
	must(t, ClientUp(tunName, teredo.MTU))
	must(t, SetAddress(tunName, addr))
	must(t, ClearAddress(tunName, addr))
	must(t, RelayUp(tunName, teredo.MTU, netip.MustParseAddr(relayLinkLocal)))
	must(t, addRule())
	var told Change
	for !told.Own || !told.Routes {
		told = told.with(next(t, changes))
	}
	if told != (Change{Own: true, Routes: true}) {
		t.Errorf("%+v, want our own interface and the rule", told)
	}
}

// A route that leads nowhere has no interface, which must not be taken for ours.
func TestWatchWithoutInterface(t *testing.T) {
	inNamespace(t)
	changes, _ := watched(t, "")
	must(t, netlink.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("203.0.113.0/24")), Type: unix.RTN_BLACKHOLE}))
	if c := next(t, changes); !c.routes() {
		t.Errorf("%+v, want a route", c)
	}
}

func TestWatchEnds(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	inNamespace(t)
	ctx, cancel := context.WithCancel(t.Context())
	changes, err := Watch(ctx, "lo")
	must(t, err)
	cancel()
	for range changes {
		t.Error("a change")
	}
	goleak.VerifyNone(t, ignore)
}

func TestWatchOfNothing(t *testing.T) {
	inNamespace(t)
	if _, err := Watch(t.Context(), "absent"); err == nil {
		t.Error("no error")
	}
}

// What the kernel had no room for is made up for: everything may have changed. The subscription outlives it.
func TestWatchSurvivesOverflow(t *testing.T) {
	inNamespace(t)
	native := newNative(t, "native")
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_IFADDR)
	must(t, err)
	must(t, socket.SetReceiveBufferSize(1, false)) // the kernel makes it its least
	for i := range 255 {
		must(t, netlink.AddrAdd(native, addrOf(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32).String())))
	}
	events := make(chan Change)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watchNetwork(ctx, socket.Receive, 0, events)
	}()
	defer func() {
		cancel()
		socket.Close()
		<-ended
	}()
	for c := next(t, events); c != (Change{Links: true, Addresses: true, Routes: true}); c = next(t, events) {
		if c != (Change{Addresses: true}) {
			t.Fatalf("%+v", c)
		}
	}
	must(t, netlink.AddrDel(native, addrOf("10.0.0.0/32")))
	for c := next(t, events); c != (Change{Addresses: true}); c = next(t, events) {
		t.Logf("%+v", c)
	}
}

// A subscription that fails for ever does not keep the processor busy.
func TestWatchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*debounce+1)
		defer cancel()
		calls := 0
		fail := func() ([]syscall.NetlinkMessage, *unix.SockaddrNetlink, error) {
			calls++
			return nil, nil, unix.ENOBUFS
		}
		events, changes := make(chan Change), make(chan Change)
		go watchNetwork(ctx, fail, 0, events)
		go debounced(ctx, events, changes)
		told := 0
		for c := range changes {
			told++
			if want := (Change{Links: true, Addresses: true, Routes: true}); c != want {
				t.Errorf("%+v, want %+v", c, want)
			}
		}
		if synctest.Wait(); calls != 12 || told == 0 {
			t.Errorf("%d calls, %d changes told", calls, told)
		}
	})
}

func TestShortMessages(t *testing.T) {
	for _, kind := range []uint16{unix.RTM_NEWLINK, unix.RTM_NEWADDR, unix.RTM_NEWROUTE, unix.RTM_NEWRULE} {
		for n := range 12 {
			m := syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind}, Data: make([]byte, n)}
			if c := changeIn(m, 7); c == (Change{}) || c.Own {
				t.Errorf("%d bytes of type %d are about our interface", n, kind)
			}
		}
	}
	if c := changeIn(syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_NEWNEIGH}}, 0); c != (Change{}) {
		t.Errorf("a neighbour: %+v", c)
	}
}

func TestDebounced(t *testing.T) {
	links, routes := Change{Links: true}, Change{Routes: true}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events, changes := make(chan Change), make(chan Change)
		go debounced(ctx, events, changes)
		start := time.Now()
		expect := func(want Change, at time.Duration) {
			t.Helper()
			if got := <-changes; got != want || time.Since(start) != at {
				t.Errorf("after %v %+v, want %+v after %v", time.Since(start), got, want, at)
			}
		}

		// A burst is one change, told a while after its first event.
		events <- links
		time.Sleep(debounce / 2)
		events <- routes
		events <- links
		expect(Change{Links: true, Routes: true}, debounce)

		// The same event again is another change.
		events <- links
		expect(links, 2*debounce)

		// Without end there is a change now and then.
		for range 4 {
			events <- routes
			time.Sleep(debounce / 2)
		}
		expect(routes, 4*debounce)

		// A slow receiver holds nothing up.
		for range 10 {
			events <- links
			time.Sleep(debounce)
		}
		events <- Change{Resumed: true}
		expect(Change{Links: true, Resumed: true}, 14*debounce)

		cancel()
		if c, ok := <-changes; ok {
			t.Errorf("%+v after the end", c)
		}
	})
}
