package kernelpath

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// driverOf reads the name of an interface's driver.
func driverOf(name string) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, name)
	if err != nil {
		return "", fmt.Errorf("read the driver of %s: %w", name, err)
	}
	return unix.ByteSliceToString(info.Driver[:]), nil
}

// offloadsOf reads the names of an interface's offloads that are on.
func offloadsOf(name string) ([]string, error) {
	messages, err := askEthtool(name, unix.ETHTOOL_MSG_FEATURES_GET)
	if err != nil || len(messages) != 1 || len(messages[0]) < nl.SizeofGenlmsg {
		return nil, fmt.Errorf("read the offloads of %s: %d messages: %w", name, len(messages), err)
	}
	// The active features, of which the bits, of which the names.
	path := []uint16{unix.ETHTOOL_A_FEATURES_ACTIVE, unix.ETHTOOL_A_BITSET_BITS, unix.ETHTOOL_A_BITSET_BITS_BIT, unix.ETHTOOL_A_BITSET_BIT_NAME}
	values := [][]byte{messages[0][nl.SizeofGenlmsg:]}
	for _, attribute := range path {
		if values, err = inside(values, attribute); err != nil {
			return nil, fmt.Errorf("read the offloads of %s: %w", name, err)
		}
	}
	var names []string
	for _, v := range values {
		names = append(names, unix.ByteSliceToString(v))
	}
	return names, nil
}

func askEthtool(name string, command uint8) ([][]byte, error) {
	family, err := netlink.GenlFamilyGet(unix.ETHTOOL_GENL_NAME)
	if err != nil {
		return nil, err
	}
	request := nl.NewNetlinkRequest(int(family.ID), 0)
	request.AddData(&nl.Genlmsg{Command: command, Version: unix.ETHTOOL_GENL_VERSION})
	header := nl.NewRtAttr(unix.ETHTOOL_A_FEATURES_HEADER|unix.NLA_F_NESTED, nil)
	header.AddRtAttr(unix.ETHTOOL_A_HEADER_DEV_NAME, nl.ZeroTerminated(name))
	request.AddData(header)
	return request.Execute(unix.NETLINK_GENERIC, 0)
}

// inside returns the attributes of a kind that are in others.
func inside(values [][]byte, kind uint16) (found [][]byte, err error) {
	for _, v := range values {
		attributes, err := nl.ParseRouteAttr(v)
		if err != nil {
			return nil, err
		}
		for _, a := range attributes {
			if a.Attr.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == kind {
				found = append(found, slices.Clone(a.Value))
			}
		}
	}
	return found, nil
}
