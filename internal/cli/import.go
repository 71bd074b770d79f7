package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/miredo"
	"github.com/teredo-suite/teredo/internal/resolve"
	"github.com/teredo-suite/teredo/teredo"
)

// Import is the import command of every program. Embed it.
type Import struct {
	File   string `arg:"" placeholder:"FILE" help:"Configuration file of Miredo, such as /etc/miredo/miredo.conf."`
	Output string `short:"o" placeholder:"FILE" help:"Write the configuration to this file, which must not exist yet, instead of standard output."`
	Force  bool   `help:"Replace the file that --output names if it exists."`
}

// largestImport bounds the file, in bytes. Miredo's are of some hundred.
const largestImport = 1 << 20

// ImportHelp returns the detailed help of an import command, for a file of Miredo and the configuration that it becomes.
func ImportHelp(what, from, to string) string {
	return fmt.Sprintf(`The file is %s.

Settings that have no counterpart become comments, which say what to do instead. Lines that Miredo itself ignores are told
as warnings. A value that is wrong ends the import with exit code 64, and nothing is written.

Examples:

    ${name} import /etc/miredo/%s
    ${name} import /etc/miredo/%[2]s --output /etc/teredo/%s`, what, from, to)
}

// Translate imports the file, whose keys translate takes, and checks that the run command accepts the result.
func (i *Import) Translate(k *kong.Kong, p *Process, translate func(*miredo.Translation)) error {
	if i.Force && i.Output == "" {
		return Usage(errors.New("--force is for --output, which is not given"))
	}
	text, err := i.read()
	if err != nil {
		return Usage(fmt.Errorf("cannot read %s: %w", i.File, cause(err)))
	}
	t := miredo.NewTranslation(i.File, text, "Configuration for "+k.Model.Name+" run --config.")
	translate(t)
	config, warnings, err := t.Finish()
	for _, w := range warnings {
		fmt.Fprintf(k.Stderr, "%s: warning: %s\n", k.Model.Name, w)
	}
	if err == nil {
		err = p.accepts(config)
	}
	if err != nil {
		return Usage(err)
	}
	if i.Output == "" {
		_, err = io.WriteString(k.Stdout, config)
		return err
	}
	return i.write(config)
}

func (i *Import) read() ([]byte, error) {
	file, err := os.Open(i.File)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, largestImport+1))
	if err == nil && len(text) > largestImport {
		err = fmt.Errorf("it has more than %d bytes, so it is no configuration of Miredo", largestImport)
	}
	return text, err
}

func (i *Import) write(config string) error {
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if i.Force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := os.OpenFile(i.Output, how, 0o644)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s exists already: name another file with --output, or replace it with --force", i.Output)
	case err != nil:
		return fmt.Errorf("cannot write %s: %w", i.Output, cause(err))
	}
	_, err = file.WriteString(config)
	return errors.Join(err, file.Close())
}

// cause removes operation and path from an error of package os.
func cause(err error) error {
	if at, ok := errors.AsType[*os.PathError](err); ok {
		return at.Err
	}
	return err
}

// accepts reports what the run command has against a configuration.
func (p *Process) accepts(config string) error {
	file, err := os.CreateTemp("", "teredo-import-*.toml")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(config)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if _, err := p.understand([]string{"run", "--config", file.Name()}); err != nil {
		return fmt.Errorf("these settings do not go together: %s", strings.ReplaceAll(err.Error(), "configuration file "+file.Name()+": ", ""))
	}
	return nil
}

// Imported are the settings that the programs of Miredo have in common.
type Imported struct {
	*miredo.Translation
	permits bool // special-use IPv4 addresses
}

// Interface translates the key for the name of the interface.
func (i *Imported) Interface() {
	given := i.Key("InterfaceName", func(value string) error {
		err := CheckName(value)
		if err == nil {
			i.Set("tun", value)
		}
		return err
	})
	if !given {
		i.Note(`InterfaceName is not given. The name of the interface is "teredo" now. If rules of a firewall name another one, add it here as tun = "NAME".`)
	}
}

// Local translates the keys for the local address and port. Unset tells what the port is when it is not given.
func (i *Imported) Local(unset string) {
	i.Key("BindAddress", func(value string) error {
		addr, err := i.IPv4(value)
		switch {
		case err != nil:
			return err
		case addr.IsUnspecified():
			i.Note("Any address is the default.")
		default:
			i.Permit(addr)
			i.Set("bind", value)
		}
		return nil
	})
	chosen := false
	i.Key("BindPort", func(value string) error {
		port, err := strconv.ParseUint(value, 0, 16)
		if err != nil || strings.Contains(value, "_") {
			return errors.New("this is not a UDP port from 0 to 65535")
		}
		if port != 0 {
			chosen = true
			i.Set("port", port)
		}
		return nil
	})
	if !chosen {
		i.Note("BindPort is not given, or 0. %s", unset)
	}
}

// IPv4 parses an address. Miredo takes names, too.
func (i *Imported) IPv4(value string) (netip.Addr, error) {
	var a IPv4
	err := a.UnmarshalText([]byte(value))
	if err != nil && resolve.Check(value) == nil {
		err = errors.New("this is a name: write the IPv4 address that it has")
	}
	return a.Addr, err
}

// Host checks a name or address of a server.
func (i *Imported) Host(value string) error {
	if err := resolve.Check(value); err != nil {
		return err
	}
	addr, err := netip.ParseAddr(value)
	if err != nil {
		return nil // a name, whose addresses are not known yet
	}
	return i.Public(addr)
}

// Public checks an address that the Internet is to see.
func (i *Imported) Public(addr netip.Addr) error {
	i.Permit(addr)
	if filter := (teredo.Filter{Permit: acceptedByMiredo()}); !filter.Global(addr) {
		return errors.New("this is not a public IPv4 address, and Miredo refuses it, too")
	}
	return nil
}

// Permit permits special-use addresses if a file has one that Miredo accepts.
func (i *Imported) Permit(addr netip.Addr) {
	accepted := acceptedByMiredo()
	if i.permits || !slices.ContainsFunc(accepted, func(r netip.Prefix) bool { return r.Contains(addr) }) {
		return
	}
	i.permits = true
	ranges := make([]string, len(accepted))
	for n, r := range accepted {
		ranges[n] = r.String()
	}
	i.Comment("%v is not a public address. Miredo accepts it, and the others in these ranges.", addr)
	i.Set("permit-ipv4", ranges)
}

// acceptedByMiredo are special-use IPv4 ranges that Miredo exchanges packets with, and this suite only if they are permitted: shared,
// benchmarking and documentation addresses, as laboratories have.
func acceptedByMiredo() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	}
}

// Rest translates the keys that have no counterpart in any program, and tells of all that no key has taken.
func (i *Imported) Rest() {
	i.Key("Prefix", func(value string) error {
		prefix, _, _ := strings.Cut(value, "/")
		addr, err := netip.ParseAddr(prefix)
		if err != nil || !addr.Is6() {
			return errors.New("this is not an IPv6 prefix")
		}
		if teredo.IsTeredo(addr) {
			i.Note("2001::/32 is always the prefix of the Teredo service.")
		} else {
			i.Warn("The prefix of the Teredo service is 2001::/32 (RFC 4380 §2.6). To give clients addresses in a prefix of your own, use native-prefix: see docs/own-teredo.md.")
		}
		return nil
	})
	i.Key("InterfaceMTU", func(value string) error {
		switch mtu, err := strconv.ParseUint(value, 0, 16); {
		case err != nil || mtu < teredo.MTU:
			return fmt.Errorf("this is not an MTU from %d to 65535", teredo.MTU)
		case mtu == teredo.MTU:
			i.Note("The MTU is always %d bytes.", teredo.MTU)
		default:
			i.Warn("The MTU is always %d bytes, as the Teredo service has it (RFC 4380 §5.1).", teredo.MTU)
		}
		return nil
	})
	i.Key("SyslogFacility", func(string) error {
		i.Note("The program logs to standard error, which the systemd journal and procd keep. With systemd, SyslogFacility= in a drop-in file of the unit sets the facility.")
		return nil
	})
}
