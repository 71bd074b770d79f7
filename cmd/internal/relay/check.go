package relay

import (
	"errors"
	"net/netip"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/udp"
)

// Examine tries what a relay needs, for a check. names are the flags for its address and port.
func (r *Relay) Examine(found *cli.Checkup, names ...string) {
	r.Log = found.Log("native prefix")
	if _, err := r.PeersFlags.Peers(nil); err != nil {
		found.Fail("control group", err)
	}
	if err := r.checkLinks(); err != nil {
		found.Fail("native prefix", err)
	} else if len(r.Natives) > 0 {
		found.OK("native prefix", "The native prefixes are %v", r.Natives.Prefixes())
	}
	local := netip.IPv4Unspecified()
	if r.Bind.IsValid() {
		local = r.Bind
	}
	found.UDPPort(netip.AddrPortFrom(local, r.Port), udp.Options{GSO: r.UDPGSO, GRO: r.UDPGRO}, names...)
	found.Interface(&r.DeviceFlags, r.KernelFlags, r.TUN)
	found.Must(netcfg.TryRelay(r.TUN), "IPv6", "The host has IPv6, and no other Teredo tunnel")
	r.examineRoutes(found)
	r.examineForwarding(found)
}

// examineRoutes finds out whether packets get in and out by IPv4 and IPv6.
func (r *Relay) examineRoutes(found *cli.Checkup) {
	somewhere := netip.AddrFrom4([4]byte{192, 0, 2, 1}) // nothing is sent there
	source, err := netcfg.LocalIPv4(somewhere)
	switch {
	case err != nil:
		found.Fail("IPv4 route", errors.New("the host has no IPv4 route to the Internet, through which clients are reached"))
	case r.behindNAT():
		found.Warn("IPv4 route", "The address %v is private: the NAT must forward UDP port %d to it", source, r.Port)
	default:
		found.OK("IPv4 route", "Datagrams leave from %v", source)
	}
	if via, native, err := netcfg.NativeIPv6(r.TUN); err != nil {
		found.Fail("IPv6 route", err)
	} else if native {
		found.OK("IPv6 route", "The host has native IPv6 through %s", via)
	} else {
		found.Warn("IPv6 route", "The host has no default route of native IPv6 with a global address: the relay reaches only the native hosts of this network")
	}
}

// examineForwarding finds out whether packets of other hosts would be forwarded.
func (r *Relay) examineForwarding(found *cli.Checkup) {
	const subject = "IPv6 forwarding"
	on, err := netcfg.Forwarding()
	switch {
	case err != nil:
		found.Fail(subject, err)
	case r.HostOnly:
		found.OK(subject, "This host alone is served, so IPv6 forwarding is not needed")
	case on:
		found.OK(subject, "IPv6 forwarding is on")
	case !r.Forwarding:
		found.Warn(subject, "IPv6 forwarding is off, so no other host is served: use --forwarding, set net.ipv6.conf.all.forwarding=1, or use --host-only")
	default:
		found.Must(mayForward(), subject, "The relay turns IPv6 forwarding on")
	}
}
