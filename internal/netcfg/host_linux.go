package netcfg

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// GlobalIPv6 returns an IPv6 address of this host that is global and not Teredo, or else a unique local one (RFC 4193).
// It is false when the host has neither. Addresses that are tentative, duplicate or deprecated do not count.
func GlobalIPv6() (netip.Addr, bool) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V6) })
	if err != nil {
		return netip.Addr{}, false
	}
	var uniqueLocal netip.Addr
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		unusable := a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) != 0
		switch {
		case !ok || unusable || !addr.IsGlobalUnicast() || teredo.IsTeredo(addr):
		case !addr.IsPrivate():
			return addr, true
		case !uniqueLocal.IsValid():
			uniqueLocal = addr
		}
	}
	return uniqueLocal, uniqueLocal.IsValid()
}

// LocalIPv4 returns the source address that the kernel would use toward the IPv4 address remote. Nothing is sent.
func LocalIPv4(remote netip.Addr) (netip.Addr, error) {
	if !remote.Is4() {
		return netip.Addr{}, fmt.Errorf("find the local address toward %s: not an IPv4 address", remote)
	}
	// Connecting a socket asks every rule that a datagram of ours would meet, policy routing included.
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(remote, teredo.Port))
	conn, err := net.DialUDP("udp4", nil, to)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the local address toward %s (is the network up?): %w", remote, err)
	}
	defer conn.Close()
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	return local.Unmap(), nil
}

// Broadcasts returns the directed-broadcast address of each attached IPv4 subnet, in ascending order (SEC-V4-01).
// Subnets of one or two addresses (RFC 3021) and loopback have none.
func Broadcasts() ([]netip.Addr, error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list IPv4 addresses: %w", err)
	}
	var broadcasts []netip.Addr
	for _, a := range addrs {
		subnet := a.IPNet
		if a.Peer != nil { // the prefix length of a point-to-point address belongs to its peer
			subnet = a.Peer
		}
		addr, ok := netip.AddrFromSlice(subnet.IP)
		bits, _ := subnet.Mask.Size()
		if !ok || bits > 30 || addr.IsLoopback() {
			continue
		}
		broadcasts = append(broadcasts, directedBroadcast(addr, bits))
	}
	slices.SortFunc(broadcasts, netip.Addr.Compare)
	return slices.Compact(broadcasts), nil
}

// directedBroadcast sets the host bits of an IPv4 address.
func directedBroadcast(addr netip.Addr, bits int) netip.Addr {
	b := addr.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|^uint32(0)>>bits)
	return netip.AddrFrom4(b)
}
