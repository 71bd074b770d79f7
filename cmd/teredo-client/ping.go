package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/resolve"
	"github.com/teredo-suite/teredo/tunnel"
)

const pingEvery = time.Second

type pingCommand struct {
	Address string `arg:"" placeholder:"ADDRESS|NAME" help:"IPv6 address, or a name that has one."`
	Count   uint   `short:"c" default:"4" placeholder:"N" help:"Send so many Echo Requests, one a second (${default})."`
	JSON    bool   `help:"Print JSON, a line for each answer and one for the end, instead of text."`
	Control string `default:"${control}" placeholder:"PATH" help:"Control socket of the running client (${default})."`
}

// Help is the detailed help of the ping command.
func (pingCommand) Help() string {
	return `The running client sends ICMPv6 Echo Requests from its own address, and tells which way each answer came and how long it
took to find that way. If there is no answer, a sentence says why. It takes root, the user that the client runs as, or
the group that its --control-group names. Exit code 0 means that there was an answer, 1 that there was none.

Examples:

    ${name} ping 2001:db8::80
    ${name} ping -c 1 --json host.example.net`
}

// Check finds what is wrong with the arguments.
func (c *pingCommand) Check() error {
	if c.Count == 0 {
		return errors.New("-c 0 would send nothing: give 1 or more")
	}
	if a, err := netip.ParseAddr(c.Address); err == nil {
		switch {
		case a.Is4():
			return fmt.Errorf("%v is an IPv4 address, and Teredo carries IPv6 packets: give an IPv6 address or a name", a)
		case a.Zone() != "":
			return fmt.Errorf("%v is an address of one link (%%%s): give a global IPv6 address", a.WithZone(""), a.Zone())
		}
		return nil
	}
	if resolve.Check(c.Address) != nil {
		return fmt.Errorf("%q is neither an IPv6 address, such as 2001:db8::80, nor a name, such as host.example.net", c.Address)
	}
	return nil
}

// pingAnswer is a line of --json for an answer.
type pingAnswer struct {
	Seq         uint           `json:"seq"`
	RTTMillis   float64        `json:"rtt_ms"`
	Path        string         `json:"path"`
	Relay       netip.AddrPort `json:"relay"`
	Endpoint    netip.AddrPort `json:"endpoint"`
	CarriedBy   string         `json:"carried_by"`
	FoundMillis float64        `json:"found_ms"`
}

// pingSummary is the last line of --json.
type pingSummary struct {
	Address  netip.Addr `json:"address"`
	Sent     uint       `json:"sent"`
	Received uint       `json:"received"`
	Least    float64    `json:"rtt_min_ms"`
	Mean     float64    `json:"rtt_avg_ms"`
	Most     float64    `json:"rtt_max_ms"`
	Cause    string     `json:"cause"`
	Reason   string     `json:"reason"` // why the latest one that has no answer has none
	cli.Decoded
}

// Run pings.
func (c *pingCommand) Run(ctx context.Context, k *kong.Kong) error {
	to, err := c.target(ctx)
	if err != nil {
		return err
	}
	s := pingSummary{Address: to, Decoded: cli.Decode(to)}
	tell := printer{k.Stdout, c.JSON}
	tell.begin(c.Address, &s)
	for n := uint(1); n <= c.Count && ctx.Err() == nil; n++ {
		next := time.After(pingEvery)
		var r tunnel.PingResult
		if err := control.Do(ctx, c.Control, "ping", to.String(), &r); err != nil {
			if ctx.Err() != nil {
				break
			}
			return err
		}
		s.add(&r)
		tell.result(n, &r)
		if !r.Sent && r.Cause != tunnel.Busy || n == c.Count {
			break // it would not be sent the next time either
		}
		select {
		case <-next:
		case <-ctx.Done():
		}
	}
	tell.end(&s)
	if s.Received == 0 {
		return cli.ErrTold
	}
	return nil
}

// target is the address to ping.
func (c *pingCommand) target(ctx context.Context) (netip.Addr, error) {
	if a, err := netip.ParseAddr(c.Address); err == nil {
		return a, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip6", c.Address)
	if err == nil && len(addrs) > 0 {
		return addrs[0], nil
	}
	if v4, _ := net.DefaultResolver.LookupNetIP(ctx, "ip4", c.Address); len(v4) > 0 {
		return netip.Addr{}, fmt.Errorf("%s has an IPv4 address only, %v: Teredo reaches hosts that have an IPv6 address", c.Address, v4[0].Unmap())
	}
	if wrong, ok := errors.AsType[*net.DNSError](err); ok && wrong.IsNotFound {
		return netip.Addr{}, fmt.Errorf("there is no name %s with an IPv6 address", c.Address)
	}
	return netip.Addr{}, fmt.Errorf("look up %s: %w", c.Address, err)
}

// add counts a result.
func (s *pingSummary) add(r *tunnel.PingResult) {
	if r.Sent {
		s.Sent++
	}
	if !r.Answered {
		s.Cause, s.Reason = string(r.Cause), r.Reason
		return
	}
	if s.Received == 0 || r.RTTMillis < s.Least {
		s.Least = r.RTTMillis
	}
	s.Most = max(s.Most, r.RTTMillis)
	s.Mean += (r.RTTMillis - s.Mean) / float64(s.Received+1)
	s.Received++
}

// printer writes what happens, in JSON or in words.
type printer struct {
	w    io.Writer
	json bool
}

func (p printer) line(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // it has numbers, addresses and words only
	}
	fmt.Fprintf(p.w, "%s\n", text)
}

func (p printer) begin(name string, s *pingSummary) {
	if p.json {
		return
	}
	if name == s.Address.String() {
		fmt.Fprintf(p.w, "PING %v", s.Address)
	} else {
		fmt.Fprintf(p.w, "PING %s (%v)", name, s.Address)
	}
	if s.Mapped.IsValid() {
		fmt.Fprintf(p.w, ", a Teredo client: mapped %v, server %v", s.Mapped, s.Server)
	}
	fmt.Fprintln(p.w)
}

func (p printer) result(n uint, r *tunnel.PingResult) {
	switch {
	case p.json && r.Answered:
		p.line(pingAnswer{n, r.RTTMillis, r.Path, r.Relay, r.Endpoint, r.CarriedBy, r.FoundMillis})
	case p.json:
	case r.Answered:
		way := map[string]string{"relay": "through the relay", "local": "on the same subnet at"}[r.Path]
		if way == "" {
			way = "directly from"
		}
		fmt.Fprintf(p.w, "answer %d: %.1f ms, %s %v, packets carried by the %s", n, r.RTTMillis, way, r.Endpoint, r.CarriedBy)
		if r.FoundMillis > 0 {
			fmt.Fprintf(p.w, ", path found in %.0f ms", r.FoundMillis)
		}
		fmt.Fprintln(p.w)
	default:
		fmt.Fprintf(p.w, "no answer %d: %s\n", n, r.Cause)
	}
}

func (p printer) end(s *pingSummary) {
	if p.json {
		p.line(s)
		return
	}
	fmt.Fprintf(p.w, "%d sent, %d answered", s.Sent, s.Received)
	if s.Received > 0 {
		fmt.Fprintf(p.w, "; round trip at least %.1f, on average %.1f, at most %.1f ms", s.Least, s.Mean, s.Most)
	}
	fmt.Fprintln(p.w)
	if s.Reason != "" {
		fmt.Fprintln(p.w, s.Reason)
	}
}

// pinger is the question that has a program ping an address once, as soon as started is closed.
func pinger(started <-chan struct{}, ping func(context.Context, netip.Addr) (tunnel.PingResult, error)) func(context.Context, string) (any, error) {
	return func(ctx context.Context, address string) (any, error) {
		to, err := netip.ParseAddr(address)
		if err != nil || !to.Is6() || to.Zone() != "" {
			return nil, fmt.Errorf("%q is not an IPv6 address to ping", address)
		}
		select {
		case <-started:
			return ping(ctx, to)
		default:
			return tunnel.PingResult{
				Address: to, Cause: tunnel.NotQualified, Reason: "The client has no Teredo address yet: it sets itself up.",
			}, nil
		}
	}
}
