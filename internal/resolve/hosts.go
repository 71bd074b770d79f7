package resolve

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// lookupHosts returns the IPv4 addresses that a hosts(5) file has for name: none when there is no such file.
func lookupHosts(path, name string) ([]netip.Addr, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the hosts file: %w", err)
	}
	defer file.Close()

	name = strings.TrimSuffix(name, ".")
	var addrs []netip.Addr
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if addr, ok := parseHostsLine(lines.Text(), name); ok && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the hosts file %s: %w", path, err)
	}
	return addrs, nil
}

// parseHostsLine returns the address of the line if it is an IPv4 address and name is among its names.
func parseHostsLine(line, name string) (netip.Addr, bool) {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) < 2 || !slices.ContainsFunc(fields[1:], func(s string) bool { return strings.EqualFold(s, name) }) {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(fields[0])
	return addr, err == nil && addr.Is4()
}
