package kernelpath

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf/features"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	tunName  = "tunnel"
	patience = 30 * time.Second // for packets that must come
)

var quiet = slog.New(slog.DiscardHandler)

// inNamespace moves the test to a network namespace of its own. The thread and the namespace end with the test.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	refuse := t.Skipf
	if os.Getenv("CI") == "true" {
		refuse = t.Fatalf
	}
	if version, err := features.LinuxVersionCode(); err != nil || version < 6<<16|6<<8 {
		refuse("the kernel path needs Linux 6.6: %v", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		refuse("no namespace of its own for the test (run as root): %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
}

// thisNamespace returns the namespace that the thread is in, for enter.
func thisNamespace(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func enter(t *testing.T, namespace int) {
	t.Helper()
	must(t, unix.Setns(namespace, unix.CLONE_NEWNET))
}

// withoutIPv6 keeps interfaces that are made from now on free of packets that nobody asked for.
func withoutIPv6(t *testing.T) {
	t.Helper()
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0))
}

// newTUN makes the TUN device. With virtio, every packet has a header of virtio, and the kernel makes GSO and CHECKSUM_PARTIAL packets.
func newTUN(t *testing.T, virtio bool) (fd int) {
	t.Helper()
	flags := uint16(unix.IFF_TUN)
	if virtio {
		flags |= unix.IFF_VNET_HDR
	}
	fd = newDevice(t, tunName, flags)
	if virtio {
		must(t, unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO6))
	}
	must(t, netlink.LinkSetMTU(linkOf(t, tunName), 1280))
	return fd
}

// newTAP makes an Ethernet interface that has no offloads, as a physical link without them.
func newTAP(t *testing.T, name string) netlink.Link {
	t.Helper()
	newDevice(t, name, unix.IFF_TAP)
	return linkOf(t, name)
}

func newDevice(t *testing.T, name string, flags uint16) (fd int) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	request, err := unix.NewIfreq(name)
	must(t, err)
	request.SetUint16(flags | unix.IFF_NO_PI)
	must(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	must(t, netlink.LinkSetUp(linkOf(t, name)))
	return fd
}

// newVeth makes two Ethernet interfaces that are joined, and up.
func newVeth(t *testing.T, name, far string) (near, other netlink.Link) {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: far}))
	for _, end := range []string{name, far} {
		must(t, netlink.LinkSetUp(linkOf(t, end)))
	}
	return linkOf(t, name), linkOf(t, far)
}

func linkOf(t *testing.T, name string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	must(t, err)
	return link
}

func addAddress(t *testing.T, link netlink.Link, prefix string) {
	t.Helper()
	p := netip.MustParsePrefix(prefix)
	address := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	must(t, netlink.AddrAdd(link, address))
	for { // the kernel takes its time also without duplicate address detection
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
		must(t, err)
		if !slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
			return a.IP.Equal(address.IP) && a.Flags&unix.IFA_F_TENTATIVE != 0
		}) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func addRoute(t *testing.T, link netlink.Link, prefix string) {
	t.Helper()
	must(t, netlink.RouteAdd(&netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: ipNet(netip.MustParsePrefix(prefix)), Scope: netlink.SCOPE_LINK,
	}))
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// packetSocket sees the packets of a protocol that an interface receives, and sends on it.
func packetSocket(t *testing.T, kind int, link netlink.Link, protocol uint16) (fd int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Protocol: networkOrder(protocol)}))
	return fd
}

// receive waits for a packet.
func receive(t *testing.T, fd int) []byte {
	t.Helper()
	for {
		if packet := receiveNow(t, fd); packet != nil {
			return packet
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			t.Fatal(err)
		case n == 0:
			t.Fatal("no packet comes")
		}
	}
}

// receiveNow returns a packet if there is one.
func receiveNow(t *testing.T, fd int) []byte {
	t.Helper()
	b := make([]byte, 1<<17)
	n, err := unix.Read(fd, b)
	if err == unix.EAGAIN || err == unix.EINTR {
		return nil
	}
	must(t, err)
	return bytes.Clone(b[:n])
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
