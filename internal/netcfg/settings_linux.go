package netcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// confDir shows the network namespace of the thread that opens it.
const confDir = Settings

// Forwarding reports whether the host forwards IPv6 packets (net.ipv6.conf.all.forwarding).
func Forwarding() (bool, error) {
	if err := checkIPv6(confDir); err != nil {
		return false, err
	}
	value, err := readSetting(confDir, "all", "forwarding")
	if err != nil {
		return false, explain("read whether the host forwards IPv6", err)
	}
	return value != "0", nil
}

// AdvertisedDefault returns an interface whose default route the kernel would remove when forwarding is turned on, "" if there is none:
// one that the kernel has from router advertisements, where accept_ra is not 2.
func AdvertisedDefault() (ifname string, err error) {
	routes, err := defaultRoutes()
	if err != nil {
		return "", err
	}
	for _, route := range routes {
		if route.Protocol != unix.RTPROT_RA {
			continue
		}
		name := interfaceName(outInterface(route))
		if accept, err := readSetting(confDir, name, "accept_ra"); err == nil && accept == "1" {
			return name, nil
		}
	}
	return "", nil
}

// SetForwarding turns forwarding of IPv6 packets on or off for the whole host. With forwarding on, the kernel drops and ignores
// default routes from router advertisements, except at interfaces whose accept_ra is 2.
func SetForwarding(on bool) error {
	if err := checkIPv6(confDir); err != nil {
		return err
	}
	value := "0"
	if on {
		value = "1"
	}
	if err := writeSetting(confDir, "all", "forwarding", value); err != nil {
		return explain("set IPv6 forwarding to "+value, err)
	}
	return nil
}

// enableIPv6 turns IPv6 on at our interface, where a host-wide default may have turned it off.
func enableIPv6(link netlink.Link) error {
	if err := checkIPv6(confDir); err != nil {
		return err
	}
	name := link.Attrs().Name
	if err := writeSetting(confDir, name, "disable_ipv6", "0"); err != nil {
		return explain("turn on IPv6 at interface "+name, err)
	}
	return nil
}

// checkIPv6 returns ErrIPv6Off when the kernel has no IPv6, or has it turned off everywhere.
func checkIPv6(dir string) error {
	value, err := readSetting(dir, "all", "disable_ipv6")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: boot the kernel without ipv6.disable=1, and load its ipv6 module", ErrIPv6Off)
	case err != nil:
		return explain("read whether the host has IPv6", err)
	case value != "0":
		return fmt.Errorf("%w: run 'sysctl -w net.ipv6.conf.all.disable_ipv6=0' and take disable_ipv6 out of /etc/sysctl.d",
			ErrIPv6Off)
	}
	return nil
}

func readSetting(dir, ifname, setting string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, ifname, setting))
	return strings.TrimSpace(string(b)), err
}

// writeSetting does not write what is there already, as it may be there just because it cannot be written.
func writeSetting(dir, ifname, setting, value string) error {
	if current, err := readSetting(dir, ifname, setting); err == nil && current == value {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(dir, ifname, setting), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
