package relay

import (
	"context"
	"fmt"
	"net"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/neighbor"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/tunnel"
)

// checkLinks finds out whether the native prefixes are routed to this host, or on-link at an interface, and whether the flags are right
// for that.
func (r *Relay) checkLinks() error {
	natives := r.Natives.Prefixes()
	if len(natives) == 0 && !r.HostOnly {
		r.Log.Warn("the clients of this relay have Teredo addresses only, which native hosts answer by way of a route to 2001::/32: " +
			"see that one leads to this relay, or give the clients native addresses with --native-prefix")
	}
	if r.NeighborProxy != "" {
		if _, err := net.InterfaceByName(r.NeighborProxy); err != nil {
			return cli.Usage(fmt.Errorf("--neighbor-proxy %s: %w: name the interface that has the native prefix", r.NeighborProxy, err))
		}
	}
	for _, p := range natives {
		ifname, covering, err := netcfg.OnLink(p, r.TUN)
		switch {
		case err != nil:
			return err
		case ifname == "" && r.NeighborProxy != "":
			r.Log.Warn("the native prefix is not on-link here: if a router sends all of it to this host, leave --neighbor-proxy out", "prefix", p)
		case ifname == "", ifname == r.NeighborProxy:
		case r.NeighborProxy != "":
			return cli.Usage(fmt.Errorf("--native-prefix %v is on-link at %s, and not at %s: say --neighbor-proxy %[2]s", p, ifname, r.NeighborProxy))
		case covering == p:
			return cli.Usage(fmt.Errorf("--native-prefix %v is the prefix of interface %s, where its router looks for each address: say --neighbor-proxy %[2]s "+
				"to have the relay answer for the clients; or, if the router sends all of the prefix to this host, give %[2]s its address as a /128", p, ifname))
		default:
			r.Log.Warn("the native prefix is part of one that is on-link: unless a router sends all of it to this host, say --neighbor-proxy with that interface",
				"prefix", p, "on-link", covering, "interface", ifname)
		}
	}
	return nil
}

// neighbors answers neighbor solicitations for the clients, where that is asked for, and keeps the routes to gateways among them.
type neighbors struct {
	ifname   string
	gateways *netcfg.Gateways
	socket   *neighbor.Socket
	runner   *neighbor.Runner // nil: nothing is answered
}

// openNeighbors opens the socket, for which the relay may not be confined yet.
func (r *Relay) openNeighbors() (n *neighbors, err error) {
	n = &neighbors{ifname: r.NeighborProxy, gateways: netcfg.KeepGateways(r.Log, r.Natives.Prefixes()...)}
	if n.ifname != "" {
		if n.socket, err = neighbor.Listen(n.ifname); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// link is what the proxy has to know now.
func (n *neighbors) link() (l neighbor.Link, err error) {
	ifi, err := net.InterfaceByName(n.ifname)
	if err != nil {
		return l, fmt.Errorf("find the interface %s: %w", n.ifname, err)
	}
	copy(l.MAC[:], ifi.HardwareAddr)
	l.Local, _ = netcfg.LinkLocalIPv6(n.ifname)
	l.Taken, err = netcfg.TakenIPv6()
	return l, err
}

// follow takes notice of the addresses and routes that there are now.
func (n *neighbors) follow() error {
	if err := n.gateways.Follow(); err != nil || n.runner == nil {
		return err
	}
	link, err := n.link()
	if err == nil {
		n.runner.SetLink(link)
	}
	return err
}

// start makes the relay's clients neighbors of the link.
func (n *neighbors) start(clients *tunnel.Relay) error {
	if n.socket != nil {
		link, err := n.link()
		if err != nil {
			return err
		}
		n.runner = neighbor.NewRunner(n.socket, n.ifname, link, clients)
	}
	return n.follow()
}

// run answers until ctx ends.
func (n *neighbors) run(ctx context.Context) error {
	if n.runner == nil {
		return nil
	}
	return n.runner.Run(ctx)
}

// close takes routes away, and closes the socket if it was not used.
func (n *neighbors) close() {
	n.gateways.Undo()
	if n.socket != nil {
		n.socket.Close()
	}
}

// status describes the proxy, if there is one.
func (n *neighbors) status() neighbor.Status {
	if n.runner == nil {
		return neighbor.Status{}
	}
	return n.runner.Status()
}
