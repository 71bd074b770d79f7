package kernelpath

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// outerLen is the size of the IPv4 and UDP headers.
const outerLen = 20 + 8

// uplink is an interface that datagrams leave by, and come in by.
type uplink struct {
	link.Link
	index    int
	physical bool // see isPhysical
}

// errNoUplink says that no interface leads to an endpoint that the kernel path can use.
var errNoUplink = errors.New("no uplink")

// uplink finds the interface that leads to an address, and the source address that packets to it have.
func (p *Path) uplink(remote netip.Addr) (up *uplink, source netip.Addr, err error) {
	source = p.local.Addr()
	var options netlink.RouteGetOptions
	if !source.IsUnspecified() {
		options.SrcAddr = source.AsSlice()
	}
	route, err := routeTo(remote, &options)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	if route.LinkIndex == p.tun {
		return nil, netip.Addr{}, fmt.Errorf("%w to %v but the tunnel itself", errNoUplink, remote)
	}
	if source.IsUnspecified() { // else the kernel does not repeat it
		if source, _ = netip.AddrFromSlice(route.Src.To4()); !source.IsValid() {
			return nil, netip.Addr{}, fmt.Errorf("%w to %v: this host has no address to send from", errNoUplink, remote)
		}
	}
	if up = p.uplinks[route.LinkIndex]; up == nil {
		p.detachRemoved()
		if up, err = p.attach(route.LinkIndex); err != nil {
			return nil, netip.Addr{}, err
		}
		p.uplinks[route.LinkIndex] = up
	}
	return up, source, nil
}

// detachRemoved forgets uplinks whose interfaces were removed.
func (p *Path) detachRemoved() {
	maps.DeleteFunc(p.uplinks, func(index int, u *uplink) bool {
		_, err := net.InterfaceByIndex(index)
		if err != nil {
			_ = u.Close() // there is nothing left to detach from
		}
		return err != nil
	})
}

// routeTo asks the kernel for the route to an address.
func routeTo(to netip.Addr, options *netlink.RouteGetOptions) (netlink.Route, error) {
	routes, err := netlink.RouteGetWithOptions(to.AsSlice(), options)
	if err == nil && len(routes) == 0 {
		err = unix.ENETUNREACH
	}
	if err != nil {
		return netlink.Route{}, fmt.Errorf("find the route to %v: %w", to, err)
	}
	return routes[0], nil
}

// attach has the kernel path look at the packets that an interface receives.
func (p *Path) attach(index int) (*uplink, error) {
	device, err := netlink.LinkByIndex(index)
	if err != nil {
		return nil, fmt.Errorf("find interface %d: %w", index, err)
	}
	a := device.Attrs()
	if a.MTU < teredo.MTU+outerLen || a.Flags&net.FlagLoopback != 0 {
		return nil, fmt.Errorf("%w: %s has an MTU of %d, or is the loopback interface", errNoUplink, a.Name, a.MTU)
	}
	physical, err := isPhysical(device)
	if err != nil {
		return nil, err
	}
	ingress, err := link.AttachTCX(link.TCXOptions{
		Interface: index, Program: p.objects.Incoming, Attach: ebpf.AttachTCXIngress,
	})
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", a.Name, err)
	}
	return &uplink{ingress, index, physical}, nil
}

// staysInside reports whether packets to an address on our side leave the machine by no physical link. A packet that came over a
// virtual link keeps its encapsulation mark (skb->encapsulation) without its outer headers, and hardware with offloads for
// tunnels would look for these.
func staysInside(local netip.Addr) (bool, error) {
	route, err := routeTo(local, nil)
	if err != nil || route.Type == unix.RTN_LOCAL {
		return err == nil, err
	}
	device, err := netlink.LinkByIndex(route.LinkIndex)
	if err != nil {
		return false, fmt.Errorf("find interface %d: %w", route.LinkIndex, err)
	}
	physical, err := isPhysical(device)
	return !physical, err
}

// isPhysical reports whether an interface gets tunnelled packets segmented and with their checksums, or does that by itself, before they
// leave the host. A virtual link may pass GSO and CHECKSUM_PARTIAL packets on as they are.
func isPhysical(device netlink.Link) (bool, error) {
	name := device.Attrs().Name
	offloads, err := offloadsOf(name)
	if err != nil {
		return false, err
	}
	hardware := device.Type() == "device" // or what a virtual machine has for it
	if hardware {
		driver, err := driverOf(name)
		if err != nil {
			return false, err
		}
		if !slices.Contains([]string{"virtio_net", "vmxnet3", "hv_netvsc", "xen_netfront", "vif"}, driver) {
			return true, nil
		}
	}
	// The drivers of virtual machines have no checksums for tunnelled packets without super-packets of them.
	return !slices.Contains(offloads, "tx-udp_tnl-segmentation") && (hardware || !slices.Contains(offloads, "tx-checksum-ip-generic")), nil
}
