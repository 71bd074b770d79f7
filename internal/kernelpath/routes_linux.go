package kernelpath

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hook is an interface at which the kernel answers.
type hook struct {
	link.Link
	name  string // of the interface
	place string // see Server.Interfaces
}

// Refresh has the kernel answer at the interfaces that the server's addresses have now, and send as the routes of this host say. The
// error says why the kernel leaves something to the program.
func (s *Server) Refresh() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale != nil {
		return s.stale
	}
	routes, defaults, err := listRoutes()
	if err != nil {
		return errors.Join(err, replace(s.maps.Routes, s.routes, nil))
	}
	if err := replace(s.maps.Routes, s.routes, routes); err != nil {
		return fmt.Errorf("tell the kernel's rules about routes: %w", err)
	}
	return errors.Join(s.attach(defaults), s.listNeighbors())
}

// listRoutes reads how datagrams leave, and by which interfaces the default routes lead. Only routes that lead by one interface to one
// gateway, or to hosts of that link, are usable.
func listRoutes() (routes map[serverPrefix]serverRoute, defaults []int, err error) {
	rules, err := netlink.RuleList(netlink.FAMILY_V4)
	if err != nil {
		return nil, nil, fmt.Errorf("list routing rules: %w", err)
	}
	tables := []int{unix.RT_TABLE_LOCAL, unix.RT_TABLE_MAIN, unix.RT_TABLE_DEFAULT} // the rules that Linux has by itself
	for i, r := range rules {
		if i == len(tables) || r.Table != tables[i] || r.Src != nil || r.Dst != nil || r.Mark != 0 || r.IifName != "" || r.OifName != "" {
			return nil, nil, errors.New("this host has routing rules of its own (ip rule), which the kernel path does not know")
		}
	}
	routes = make(map[serverPrefix]serverRoute)
	metrics := make(map[serverPrefix]int)
	for _, table := range []int{unix.RT_TABLE_MAIN, unix.RT_TABLE_LOCAL} {
		list, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range list {
			key, ok := routeKey(r)
			if !ok {
				continue
			}
			if was, ok := metrics[key]; ok && table == unix.RT_TABLE_MAIN && was <= r.Priority {
				continue
			}
			metrics[key], routes[key] = r.Priority, usable(r)
			if key.Bits == 0 && routes[key].Interface != 0 {
				defaults = append(defaults, r.LinkIndex)
			}
		}
	}
	if len(routes) > mostRoutes {
		return nil, nil, fmt.Errorf("this host has %d IPv4 routes, and the kernel path knows %d at most", len(routes), mostRoutes)
	}
	return routes, defaults, nil
}

// routeKey is the prefix of a route; false: it is not IPv4.
func routeKey(r netlink.Route) (serverPrefix, bool) {
	if r.Dst == nil {
		return serverPrefix{}, true
	}
	a, ok := netip.AddrFromSlice(r.Dst.IP.To4())
	bits, _ := r.Dst.Mask.Size()
	return serverPrefix{Bits: uint32(bits), Address: ipv4(a)}, ok
}

// usable is where a route leads; the zero value: the program has to send.
func usable(r netlink.Route) serverRoute {
	const down = unix.RTNH_F_DEAD | unix.RTNH_F_LINKDOWN
	if r.Type != unix.RTN_UNICAST || len(r.MultiPath) > 0 || r.Via != nil || r.Encap != nil || r.MPLSDst != nil || r.Tos != 0 || r.Flags&down != 0 {
		return serverRoute{}
	}
	route := serverRoute{Interface: uint32(r.LinkIndex)}
	if gateway, ok := netip.AddrFromSlice(r.Gw.To4()); ok {
		route.Gateway = ipv4(gateway)
	}
	return route
}

// attach has the kernel answer at the interfaces of the server's addresses, and nowhere else. An address that is on no link, such as an
// anycast address at the loopback interface, is reached by the interfaces of the default routes. While the host lacks one of the addresses,
// the kernel answers nowhere.
func (s *Server) attach(defaults []int) error {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	wanted := make(map[int]netlink.Link)
	var errs []error
	for _, bind := range s.cfg.Bind {
		found, indexes := false, defaults
		for _, a := range addresses {
			if !a.IP.Equal(bind.AsSlice()) {
				continue
			}
			found = true
			if device, err := netlink.LinkByIndex(a.LinkIndex); err == nil && isLink(device) {
				indexes = []int{a.LinkIndex}
			}
		}
		if !found {
			return errors.Join(fmt.Errorf("this host has no address %v", bind), s.detach())
		}
		for _, index := range indexes {
			device, err := netlink.LinkByIndex(index)
			if err != nil {
				errs = append(errs, fmt.Errorf("find interface %d: %w", index, err))
			} else if !isLink(device) {
				errs = append(errs, fmt.Errorf("%s is not an Ethernet interface", device.Attrs().Name))
			} else {
				wanted[index] = device
			}
		}
	}
	maps.DeleteFunc(s.hooks, func(index int, h *hook) bool {
		if _, ok := wanted[index]; ok {
			return false
		}
		_ = h.Close() // the interface may have gone
		return true
	})
	for index, device := range wanted {
		if s.hooks[index] != nil {
			continue
		}
		h, err := s.hook(device)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.hooks[index] = h
		s.log.Info("the kernel answers", "interface", h.name, "place", h.place)
	}
	if len(wanted) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no Ethernet interface leads to the server's addresses"))
	}
	return errors.Join(errs...)
}

// isLink reports whether frames of other hosts come over an interface, and have Ethernet headers.
func isLink(device netlink.Link) bool {
	return device.Attrs().EncapType == "ether" && device.Type() != "dummy"
}

// hook attaches the rules to an interface, in its driver if possible. A veth driver can, too, but its other end gets an answer only if
// that has XDP or GRO itself. It would also turn segmentation offload off there, and hide which checksums are not finished.
func (s *Server) hook(device netlink.Link) (*hook, error) {
	a := device.Attrs()
	if device.Type() != "veth" {
		h, err := link.AttachXDP(link.XDPOptions{Program: s.xdp, Interface: a.Index, Flags: link.XDPDriverMode})
		if err == nil {
			return &hook{h, a.Name, "xdp"}, nil
		}
		s.log.Debug("no XDP in the driver", "interface", a.Name, "error", err)
	}
	if s.tcx == nil {
		return nil, fmt.Errorf("the driver of %s has no XDP, and otherwise the kernel path needs Linux 6.6 or later: %w", a.Name, s.noTCX)
	}
	h, err := link.AttachTCX(link.TCXOptions{Program: s.tcx, Interface: a.Index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", a.Name, err)
	}
	return &hook{h, a.Name, "tcx"}, nil
}

// refreshNeighbors tells XDP the Ethernet addresses of neighbors.
func (s *Server) refreshNeighbors() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listNeighbors()
}

func (s *Server) listNeighbors() error {
	const unknown = netlink.NUD_INCOMPLETE | netlink.NUD_FAILED | netlink.NUD_NONE | netlink.NUD_NOARP
	wanted := make(map[serverNeighbor]serverStation)
	for index, h := range s.hooks {
		if h.place != "xdp" {
			continue
		}
		device, err := netlink.LinkByIndex(index)
		if err != nil {
			return fmt.Errorf("find interface %d: %w", index, err)
		}
		if mac := device.Attrs().HardwareAddr; len(mac) == 6 {
			wanted[serverNeighbor{Interface: uint32(index)}] = serverStation{Mac: [6]byte(mac)}
		}
		list, err := netlink.NeighList(index, netlink.FAMILY_V4)
		if err != nil {
			return fmt.Errorf("list neighbors: %w", err)
		}
		for _, n := range list {
			a, ok := netip.AddrFromSlice(n.IP.To4())
			if ok && n.State&unknown == 0 && len(n.HardwareAddr) == 6 && len(wanted) < mostNeighbors {
				wanted[serverNeighbor{Interface: uint32(index), Address: ipv4(a)}] = serverStation{Mac: [6]byte(n.HardwareAddr)}
			}
		}
	}
	if err := replace(s.maps.Neighbors, s.neighbors, wanted); err != nil {
		return fmt.Errorf("tell the kernel's rules about neighbors: %w", err)
	}
	return nil
}
