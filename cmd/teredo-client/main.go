// Command teredo-client gives a host behind an IPv4 NAT its IPv6 connectivity (RFC 4380 §5.2).
package main

import (
	"context"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/dnsupdate"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/traffic"
	"github.com/teredo-suite/teredo/tunnel"
)

func main() {
	cli.Program{
		Name: "teredo-client",
		Description: "Teredo client: gives this host, on IPv4 behind a NAT, an IPv6 address and IPv6 connectivity " +
			"through a Teredo server.",
		Control:     cli.ControlPath("teredo-client", "client"),
		UserControl: cli.UserControl("teredo-client", "proxy"),
		Hint:        hint,
	}.Main(&struct {
		Run run `cmd:"" set:"control=${system_control}" help:"Bring IPv6 up and keep it up until stopped."`
		proxyCommands
		Up        up                   `cmd:"" set:"control=${system_control}" help:"Bring IPv6 up in the background, without systemd."`
		Down      cli.Down             `cmd:"" set:"control=${system_control}" help:"Stop what runs in the background."`
		Status    cli.Status[status]   `cmd:"" help:"Show what the running client is doing."`
		Peers     cli.Peers[peer.Info] `cmd:"" help:"Show the peers that the running client knows, and the paths to them."`
		Ping      pingCommand          `cmd:"" help:"Ping a host through the running client, and show the path, or why there is no answer."`
		Probe     probeCommand         `cmd:"" help:"Find out which servers answer, what the NAT does, and which peers a client could reach."`
		Explain   explainCommand       `cmd:"" help:"Show what a Teredo address contains, and whether programs send to it."`
		Bugreport bugreport            `cmd:"" help:"Write an archive that tells others what is wrong, without secrets."`
		Import    importCommand        `cmd:"" help:"Write a configuration file from one of Miredo."`
		Check     check                `cmd:"" set:"control=${system_control}" help:"Find out whether a start would succeed, without starting."`
		OnChange  onChangeCommand      `cmd:"" hidden:"" help:"Run a command with each change that standard input tells of."`
		Version   cli.Version          `cmd:"" help:"Show the version."`
	}{})
}

// status is the client's status with what only the program knows.
type status struct {
	tunnel.ClientStatus
	DNS      dnsupdate.Status `json:"dns,omitzero"`
	Traffic  traffic.Summary  `json:"traffic,omitzero"`   // of the host
	Confined string           `json:"confined,omitempty"` // by what, once it is set up
	Proxy    proxyStatus      `json:"proxy,omitzero"`
}

// clientFlags are the flags of the commands that have IPv6.
type clientFlags struct {
	Server     []string `required:"" example:"teredo.example.net" placeholder:"HOST" help:"Teredo server: a name or an IPv4 address. Repeat the flag to list several; the client tries them in order."`
	Server2    []string `name:"server2" placeholder:"HOST" help:"Second address of the server, which reveals a symmetric NAT. Repeat the flag in the order of --server. The default is the address after the first."`
	Bind       cli.IPv4 `placeholder:"ADDRESS" help:"Local IPv4 address. The default is the source address of the route to the server."`
	Port       uint16   `placeholder:"PORT" help:"Local UDP port. Use it if the NAT forwards a port to this host. The default is the port of the last run; the first time, a random one."`
	NewAddress bool     `help:"Use a new UDP port and a new address, and forget those of the last run."`

	SecretFile      string          `placeholder:"FILE" help:"File with 'identifier secret', mode 600, that authenticates this client to the server. SIGHUP makes the client read it again."`
	RefreshInterval refreshInterval `default:"30s" placeholder:"DURATION|auto" help:"Longest time without a message to the server (${default}), from 5s to 5m. With 'auto' the client measures how long the NAT keeps a mapping, up to two minutes."`
	ConePhase       bool            `help:"First ask whether the NAT is a cone NAT. For old servers only: the address then reveals the kind of the NAT."`

	LocalDiscovery bool     `negatable:"" default:"true" help:"Find other clients on the same private IPv4 subnet by multicast, and reach them directly."`
	PortMapping    bool     `negatable:"" default:"true" help:"Ask the gateway to forward a UDP port, by UPnP, PCP or NAT-PMP, and remove the mapping at the end."`
	Disable        []string `placeholder:"EXTENSION,…" enum:"symmetric-nat,upnp,port-preserving,sequential,hairpinning,load-reduction" help:"Turn off these extensions of RFC 6081 (${enum}). symmetric-nat also turns off the three after it, and port-preserving also turns off sequential."`
	announceFlags
	cli.UDPFlags
	cli.NativeFlags
	cli.PeersFlags
	cli.RunFlags
}

type run struct {
	TUN    string `name:"tun" default:"teredo" placeholder:"NAME" help:"Name of the interface to create (${default})."`
	Always bool   `help:"Stay up even while the host has native IPv6."`
	clientFlags
	cli.DeviceFlags
	cli.KernelFlags
}

// Help is the detailed help of the run command.
func (run) Help() string {
	return `The client needs root, or the capability CAP_NET_ADMIN. It creates an interface, qualifies with the server through
the NAT, and gives the interface a Teredo address and a default IPv6 route. Any native default route takes precedence.
The client removes all of it when it stops. While the network or the server is down it keeps trying; '${name} status' tells why.

Examples:

    ${name} run --server teredo.example.net
    ${name} run --server 192.0.2.1 --port 40000
    ${name} run --server teredo.example.net --server teredo.example.org
    ${name} run --server teredo.example.net --dns-update laptop.example.net --dns-key /etc/teredo/dns.key
    ${name} run --config /etc/teredo/client.toml`
}

// Run brings IPv6 up and serves status requests.
func (r *run) Run(ctx context.Context, p *cli.Process) error { return start(ctx, p, r) }
