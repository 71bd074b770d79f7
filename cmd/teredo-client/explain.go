package main

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/teredo"
)

type explainCommand struct {
	Address    string       `arg:"" placeholder:"ADDRESS" help:"Teredo address: an IPv6 address in 2001::/32."`
	PermitIPv4 cli.Prefixes `name:"permit-ipv4" placeholder:"CIDR,…" help:"Take these special-use IPv4 ranges for public ones, as the run command does."`
	JSON       bool         `help:"Print JSON instead of text."`
}

// Help is the detailed help of the explain command.
func (explainCommand) Help() string {
	return `A Teredo address contains the IPv4 address of the client's server, and the IPv4 address and UDP port that the client's
NAT has mapped to it. Programs send to an address only if both IPv4 addresses are global unicast ones. Exit code 0
means that the address is a Teredo address, whether programs send to it or not.

Examples:

    ${name} explain 2001:0:c000:201:2c05:f227:39cc:9bfe
    ${name} explain 2001:0:c000:201:2c05:f227:39cc:9bfe --permit-ipv4 192.0.2.0/24,198.51.100.0/24
    ${name} explain 2001:0:c000:201:2c05:f227:39cc:9bfe --json`
}

// explanation is what a Teredo address says (RFC 4380 §4, RFC 5991 §3.1).
type explanation struct {
	Address netip.Addr     `json:"address"`
	Server  netip.Addr     `json:"server"`
	Mapped  netip.AddrPort `json:"mapped"`
	Flags   string         `json:"flags"`        // all 16 bits, in hexadecimal
	Cone    bool           `json:"cone"`         // the client says that its NAT is a cone NAT
	Random  bool           `json:"random_flags"` // the client has drawn bits at random, as RFC 5991 wants it

	WellFormed bool     `json:"well_formed"` // nothing is wrong with it
	Failed     []string `json:"failed_checks"`
}

// Run explains the address.
func (c *explainCommand) Run(k *kong.Kong) error {
	e, err := c.explain()
	if err != nil {
		return cli.Usage(err)
	}
	if !c.JSON {
		return cli.Print(k.Stdout, e)
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("write the explanation: %w", err)
	}
	_, err = fmt.Fprintf(k.Stdout, "%s\n", text)
	return err
}

func (c *explainCommand) explain() (e explanation, err error) {
	addr, err := netip.ParseAddr(c.Address)
	if err != nil {
		return e, fmt.Errorf("%q is not an IPv6 address, such as 2001:0:c000:201:2c05:f227:39cc:9bfe", c.Address)
	}
	a, ok := teredo.ParseAddress(addr)
	if !ok || addr.Zone() != "" {
		return e, fmt.Errorf("%v is not a Teredo address: these are in 2001::/32. The IPv4 addresses in a client's address from an "+
			"operator's own prefix cannot be read without that prefix", addr)
	}
	e = explanation{
		Address: addr, Server: a.Server, Mapped: a.Mapped, Flags: fmt.Sprintf("0x%04x", a.Flags),
		Cone: a.Flags&teredo.FlagCone != 0, Random: a.Flags&teredo.FlagRandomMask != 0, Failed: c.faults(a),
	}
	e.WellFormed = len(e.Failed) == 0
	return e, nil
}

// faults are the checks that an address fails (RFC 4380 §4 and §5.2.4, RFC 5991 §3.1). It is never nil, for JSON.
func (c *explainCommand) faults(a teredo.Address) []string {
	const reserved, universal, group = 0x4000, 0x0200, 0x0100
	filter, faults := teredo.Filter{Permit: c.PermitIPv4}, []string{}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	mapped := a.Mapped.Addr()
	check(filter.Global(a.Server), "the server's address is %s", useOf(a.Server))
	check(filter.Global(mapped), "the mapped address is %s", useOf(mapped))
	check(a.Mapped.Port() != 0, "the mapped port is 0")
	check(a.Flags&reserved == 0, "the reserved flag 0x%04x is set", reserved)
	check(a.Flags&(universal|group) == 0, "a flag of 0x%04x, universal and group, is set", universal|group)
	return faults
}

// useOf says what an IPv4 address is for that is not a global unicast address.
func useOf(a netip.Addr) string {
	switch {
	case a.IsPrivate():
		return "private"
	case a.IsLoopback():
		return "of the loopback range"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsMulticast():
		return "multicast"
	case a.IsUnspecified():
		return "unspecified"
	}
	return "of a special-use range"
}
