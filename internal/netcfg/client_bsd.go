//go:build darwin || freebsd || openbsd

package netcfg

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/teredo-suite/teredo/teredo"
)

// ClientUp brings the interface of a client up. The system gives it a link-local address.
func ClientUp(ifname string, mtu int) error {
	return configure("ifconfig", ifname, "mtu", strconv.Itoa(mtu), "up")
}

// TryClient finds out whether the program may make and configure an interface.
func TryClient(string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("only root may configure an interface: %w", os.ErrPermission)
	}
	return nil
}

// LimitSegments has nothing to limit: no super-packets cross the interface.
func LimitSegments(string, int) error { return nil }

// SetAddress makes addr the Teredo address of the interface, with the route 2001::/32 that its prefix length makes, and a default
// route if there is none. Any other Teredo address of the interface is withdrawn.
func SetAddress(ifname string, addr netip.Addr) error {
	all, err := look()
	if err != nil {
		return err
	}
	has := false
	for _, p := range all[ifname].addresses {
		switch a := p.Addr(); {
		case a == addr:
			has = true
		case teredo.IsTeredo(a):
			if err := removeAddress(ifname, a); err != nil {
				return err
			}
		}
	}
	if !has {
		bits := strconv.Itoa(teredo.Prefix().Bits())
		if err := configure("ifconfig", ifname, "inet6", addr.String(), "prefixlen", bits, "alias"); err != nil {
			return err
		}
	}
	err = configure("route", defaultRoute("add", ifname, addr)...)
	if existing := (*commandError)(nil); errors.As(err, &existing) && existing.says("exists") {
		return nil // it is ours, or a native one, which takes precedence
	}
	return err
}

// ClearAddress withdraws what SetAddress made for addr. What is already gone, even the interface, is no error.
func ClearAddress(ifname string, addr netip.Addr) error {
	all, err := look()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all[ifname].addresses, func(p netip.Prefix) bool { return p.Addr() == addr }) {
		return nil // the route went with it
	}
	return removeAddress(ifname, addr)
}

// removeAddress takes away an address, and a default route that leads to the interface.
func removeAddress(ifname string, addr netip.Addr) error {
	if err := configure("route", defaultRoute("delete", ifname, addr)...); err != nil {
		if gone := (*commandError)(nil); !errors.As(err, &gone) || !gone.says("not in table") && !gone.says("no such process") {
			return err
		}
	}
	return configure("ifconfig", ifname, "inet6", addr.String(), "delete")
}

// defaultRoute are the arguments of route(8) for the default route to the interface, whose address is addr.
func defaultRoute(do, ifname string, addr netip.Addr) []string {
	if runtime.GOOS == "openbsd" {
		return []string{"-n", do, "-inet6", "-iface", "default", addr.String()}
	}
	return []string{"-n", do, "-inet6", "default", "-interface", ifname}
}

// RestoreClient gives the interface of a client back what it has lost of what ClientUp and SetAddress made, and says what that was.
// addr is its Teredo address, zero if it has none. An interface that is gone has lost nothing: who has it open finds out.
func RestoreClient(ifname string, addr netip.Addr) (lost []string, err error) {
	all, err := look()
	if err != nil {
		return nil, err
	}
	is, there := all[ifname]
	if !there {
		return nil, nil
	}
	if !is.up {
		lost = append(lost, "the state up")
		err = ClientUp(ifname, teredo.MTU)
	}
	if addr.IsValid() && !slices.ContainsFunc(is.addresses, func(p netip.Prefix) bool { return p.Addr() == addr }) {
		lost = append(lost, "the address "+addr.String())
		err = errors.Join(err, SetAddress(ifname, addr))
	}
	return lost, err
}

// commandError says what a command of the system has refused.
type commandError struct {
	command string
	said    string
	err     error
}

func (e *commandError) Error() string { return fmt.Sprintf("%s: %v: %s", e.command, e.err, e.said) }
func (e *commandError) Unwrap() error { return e.err }

// says reports whether the command has said a text, in whatever case.
func (e *commandError) says(text string) bool { return strings.Contains(strings.ToLower(e.said), text) }

// configure runs a command of the system.
func configure(command string, args ...string) error {
	out, err := exec.Command("/sbin/"+command, args...).CombinedOutput()
	if err != nil {
		return &commandError{command + " " + strings.Join(args, " "), string(bytes.TrimSpace(out)), err}
	}
	return nil
}
