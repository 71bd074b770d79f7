package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/teredo-suite/teredo/internal/control"
)

// RunFlags are the flags that every run command has. Embed it.
type RunFlags struct {
	PermitIPv4 Prefixes   `name:"permit-ipv4" placeholder:"CIDR,…" help:"Also exchange packets with these special-use IPv4 ranges (private, shared, documentation), which are refused by default. For labs and private deployments. SIGHUP makes a new value in the configuration file take effect."`
	Config     ConfigFile `placeholder:"FILE" help:"TOML file with one 'flag = value' per line, without the dashes. The command line takes precedence. SIGHUP makes the program read it again."`
	Control    string     `default:"${control}" placeholder:"PATH" help:"Unix socket on which the program answers status requests (${default})."`
	Confine    bool       `negatable:"" default:"true" help:"After set-up, give up capabilities, files and system calls that are no longer needed. --no-confine is for debuggers."`
	ProfileFlags
	WebFlags
	LogLevel  LogLevel  `default:"info" placeholder:"debug|info|warn|error" help:"Lowest level to log (${default})."`
	LogFile   string    `placeholder:"FILE" help:"Write the log to this file instead of standard error. When it has 1 MiB, its lines move to a file that ends in .1."`
	LogFormat LogFormat `default:"text" placeholder:"text|json" help:"Format of the log: text for people, or json, one object per line (${default})."`

	state string // folder for what the next run finds; empty: that of the control socket
}

// NativeFlags say which native IPv6 hosts the run command of client and server has to do with. Embed it.
type NativeFlags struct {
	PermitIPv6 IPv6Prefixes `name:"permit-ipv6" placeholder:"CIDR,…" help:"Also carry packets of native hosts in these special-use IPv6 ranges (unique local, 6to4, NAT64), which are refused by default."`
}

// PeersFlags is the flag of the programs that tell of their peers. Embed it.
type PeersFlags struct {
	ControlGroup string `placeholder:"GROUP" help:"Group whose members may also use the command 'peers', which lists the hosts that packets are exchanged with, and the client's command 'ping'. By default only root and the user of the program may."`
}

// Peers is the question that answer answers.
func (f *PeersFlags) Peers(answer func(context.Context) (any, error)) (map[string]control.Question, error) {
	circle, err := control.NewCircle(f.ControlGroup)
	if err != nil {
		return nil, Usage(fmt.Errorf("%w, or name another with --control-group", err))
	}
	return map[string]control.Question{"peers": {Answer: answer, Circle: circle}}, nil
}

// IPv4 is a flag that holds an IPv4 address. The zero value (not IsValid) means that it was not given.
type IPv4 struct{ netip.Addr }

// UnmarshalText parses an address in dotted form.
func (a *IPv4) UnmarshalText(text []byte) error {
	addr, err := netip.ParseAddr(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("%q is not an IPv4 address, such as 192.0.2.1", text)
	case !addr.Is4():
		return fmt.Errorf("%s is an IPv6 address, and an IPv4 address is needed", text)
	}
	a.Addr = addr
	return nil
}

// Prefixes is a flag that holds IPv4 ranges in CIDR form, separated by commas. It may be repeated.
type Prefixes []netip.Prefix

// UnmarshalText adds the ranges in text to those already there. An empty text has none.
func (p *Prefixes) UnmarshalText(text []byte) (err error) {
	*p, err = appendPrefixes(*p, string(text), family{name: "IPv4", other: "IPv6", bits: 32, example: "10.0.0.0/8"})
	return err
}

// IPv6Prefixes is a flag that holds IPv6 ranges in CIDR form, separated by commas. It may be repeated.
type IPv6Prefixes []netip.Prefix

// UnmarshalText adds the ranges in text to those already there. An empty text has none.
func (p *IPv6Prefixes) UnmarshalText(text []byte) (err error) {
	*p, err = appendPrefixes(*p, string(text), family{name: "IPv6", other: "IPv4", bits: 128, example: "2001:db8::/32"})
	return err
}

// family is IPv4 or IPv6, as the person who typed a range is told.
type family struct {
	name, other string
	bits        int // of an address
	example     string
}

func appendPrefixes(to []netip.Prefix, text string, f family) ([]netip.Prefix, error) {
	if text == "" {
		return to, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		prefix, err := f.parsePrefix(strings.TrimSpace(item))
		if err != nil {
			return to, err
		}
		to = append(to, prefix)
	}
	return to, nil
}

func (f family) parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.BitLen() == f.bits {
		return netip.Prefix{}, fmt.Errorf("%s has no prefix length: write %s/%d for this one address", s, s, f.bits)
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is not an %s range in CIDR form, such as %s", s, f.name, f.example)
	case prefix.Addr().BitLen() != f.bits:
		return netip.Prefix{}, fmt.Errorf("%s is an %s range, and %s ranges are needed", s, f.other, f.name)
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has bits set beyond its prefix length: write %v", s, prefix.Masked())
	}
	return prefix, nil
}

// LogFormat is a flag that holds the form of the log, text or json.
type LogFormat string

// UnmarshalText parses text or json.
func (f *LogFormat) UnmarshalText(text []byte) error {
	if *f = LogFormat(text); *f != "text" && *f != "json" {
		return fmt.Errorf("%q is not a log format: choose text or json", text)
	}
	return nil
}

// LogLevel is a flag that holds the least grave level that is logged.
type LogLevel slog.Level

// String has the form that UnmarshalText parses.
func (l LogLevel) String() string { return strings.ToLower(slog.Level(l).String()) }

// UnmarshalText parses debug, info, warn or error.
func (l *LogLevel) UnmarshalText(text []byte) error {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(level.String(), string(text)) {
			*l = LogLevel(level)
			return nil
		}
	}
	return fmt.Errorf("%q is not a log level: choose debug, info, warn or error", text)
}
