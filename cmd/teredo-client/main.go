// Command teredo-client gives a host behind an IPv4 NAT its IPv6 connectivity (RFC 4380 §5.2).
package main

import (
	"context"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/tunnel"
)

func main() {
	cli.Program{
		Name: "teredo-client",
		Description: "Teredo client: gives this host, on IPv4 behind a NAT, an IPv6 address and IPv6 connectivity " +
			"through a Teredo server.",
		Control: "/run/teredo-client/client.sock",
	}.Main(&struct {
		Run       run                  `cmd:"" help:"Bring IPv6 up and keep it up until stopped."`
		Status    cli.Status[status]   `cmd:"" help:"Show what the running client is doing."`
		Peers     cli.Peers[peer.Info] `cmd:"" help:"Show the peers that the running client knows, and the paths to them."`
		Probe     probeCommand         `cmd:"" help:"Find out which servers answer, what the NAT does, and whom a client would reach."`
		Explain   explainCommand       `cmd:"" help:"Show what a Teredo address contains, and whether programs send to it."`
		Bugreport bugreport            `cmd:"" help:"Write an archive that tells others what is wrong, without secrets."`
		Version   cli.Version          `cmd:"" help:"Show the version."`
	}{})
}

// status is the client's status with what only the program knows.
type status struct {
	tunnel.ClientStatus
	Confined string `json:"confined,omitempty"` // by what, once it is set up
}

type run struct {
	Server     []string `required:"" placeholder:"HOST" help:"Teredo server: a name or an IPv4 address. Repeat it to have more, which are tried in order."`
	Server2    []string `name:"server2" placeholder:"HOST" help:"Second address of the server, which tells a symmetric NAT; repeat it in the order of --server. Without it the address after the first is tried."`
	Bind       cli.IPv4 `placeholder:"ADDRESS" help:"Local IPv4 address to use. The default is whatever the route to the server has."`
	Port       uint16   `placeholder:"PORT" help:"Local UDP port, for one that the NAT forwards to this host. The default is that of the last run, and a random one at first."`
	NewAddress bool     `help:"Draw a new UDP port and a new address, and forget those of the last run."`
	TUN        string   `name:"tun" default:"teredo" placeholder:"NAME" help:"Name of the interface to create (${default})."`

	SecretFile      string          `placeholder:"FILE" help:"Prove to the server who this is: 'identifier secret' in this file, mode 600. SIGHUP has it read again."`
	RefreshInterval refreshInterval `default:"30s" placeholder:"DURATION|auto" help:"Longest silence between client and server (${default}), from 5s to 5m. With 'auto' a second UDP port finds out how long the NAT stands, up to two minutes."`
	ConePhase       bool            `help:"Ask first whether the NAT is a cone NAT. For old servers; it reveals the kind of the NAT in the address."`

	LocalDiscovery bool     `negatable:"" default:"true" help:"Find other clients of the same private IPv4 subnet by multicast, and reach them directly."`
	PortMapping    bool     `negatable:"" default:"true" help:"Ask the gateway of the NAT for a UDP port, by UPnP, PCP or NAT-PMP, and give it back at the end."`
	Always         bool     `help:"Stay up also while the host has native IPv6."`
	Disable        []string `placeholder:"EXTENSION,…" enum:"symmetric-nat,upnp,port-preserving,sequential,hairpinning,load-reduction" help:"Do without these extensions of RFC 6081 (${enum}). Without symmetric-nat the three after it are off, too, and without port-preserving sequential is."`
	cli.OffloadFlags
	cli.NativeFlags
	cli.PeersFlags
	cli.RunFlags
}

// Help is the detailed help of the run command.
func (run) Help() string {
	return `The client needs root, or the capability CAP_NET_ADMIN. It creates an interface, qualifies with the server through
the NAT, and gives the interface a Teredo address and a default IPv6 route that any native one beats. It takes all
of it away when it stops. While the network or the server is down it keeps trying; '${name} status' tells why.

Examples:

    ${name} run --server teredo.example.net
    ${name} run --server 192.0.2.1 --port 40000
    ${name} run --server teredo.example.net --server teredo.example.org
    ${name} run --config /etc/teredo/client.toml`
}

// Run brings IPv6 up and serves status requests.
func (r *run) Run(ctx context.Context, p *cli.Process) error { return start(ctx, p, r) }
