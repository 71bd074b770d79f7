package relay

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

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
			return cli.Usage(fmt.Errorf("--neighbor-proxy: this host has no interface %s: name the one whose link has the native prefix", r.NeighborProxy))
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
			return cli.Usage(fmt.Errorf("--native-prefix %v is on-link at %s, and not at %s: use --neighbor-proxy %[2]s", p, ifname, r.NeighborProxy))
		case covering == p:
			return cli.Usage(fmt.Errorf("--native-prefix %v is the prefix of interface %s, and the router of that link asks there for each address: use --neighbor-proxy %[2]s, "+
				"and the relay answers for the clients. If the router sends all of the prefix to this host, give %[2]s its address as a /128 instead", p, ifname))
		default:
			r.Log.Warn("the native prefix is part of one that is on-link: use --neighbor-proxy with that interface, unless a router sends all of the prefix to this host",
				"prefix", p, "on-link", covering, "interface", ifname)
		}
	}
	return nil
}

// neighbors answers neighbor solicitations for the clients, where that is asked for, and keeps the routes to gateways among them.
type neighbors struct {
	log      *slog.Logger
	ifname   string
	changed  chan struct{} // addresses or routes may be others now; nil: there is no native prefix, so nothing depends on them
	gateways *netcfg.Gateways
	socket   *neighbor.Socket
	runner   *neighbor.Runner // nil: nothing is answered
}

// openNeighbors opens the socket, for which the relay may not be confined yet.
func (r *Relay) openNeighbors() (n *neighbors, err error) {
	n = &neighbors{log: r.Log, ifname: r.NeighborProxy, gateways: netcfg.KeepGateways(r.Log, r.Natives.Prefixes()...)}
	if len(r.Natives) > 0 {
		n.changed = make(chan struct{}, 1)
	}
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
	if n.changed == nil {
		return nil
	}
	return n.follow()
}

// tell tells that addresses or routes may be others now. It does not wait.
func (n *neighbors) tell() {
	select {
	case n.changed <- struct{}{}:
	default: // it is told already, or nothing depends on it
	}
}

// followAll takes notice of changes until ctx ends, not too often: a router may have very many routes, which change all the time.
func (n *neighbors) followAll(ctx context.Context) error {
	const pause = 30 * time.Second
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.changed:
		}
		if err := n.follow(); err != nil {
			n.log.Error("cannot follow a change of the links of this host", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
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
