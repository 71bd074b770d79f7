// Package confine has a program that is set up give up what it does not need any more: capabilities, new privileges, the
// files of others (landlock), and system calls (seccomp). Whoever takes the program over then has little to go on with.
//
// What is denied fails with EPERM or EACCES. Nothing is killed.
package confine

import "strings"

// Policy is what a program still needs when it is set up.
type Policy struct {
	NetAdmin bool     // CAP_NET_ADMIN: the interface, its addresses and routes
	BPF      bool     // the use of eBPF maps and programs that are loaded, and links of these to further interfaces
	Connect  bool     // TCP connections to others
	Listen   []uint16 // TCP ports to listen on
	Read     []string // files that are read again; also those that take their place, but not in a folder with secrets of others
	Replaced []string // the same, in any folder: all of it can be read then
	Settings []string // folders below /proc/sys whose files are written
	Keep     []string // folders whose files are made, written and removed
}

// Result says which of the means are in force. What the kernel lacks is missing, and does not keep the others from it.
type Result struct {
	Means   []string
	Missing []error
}

// String has the form "capabilities, no_new_privs; not landlock: the kernel has none".
func (r Result) String() string {
	parts := make([]string, 0, 1+len(r.Missing))
	if len(r.Means) > 0 {
		parts = append(parts, strings.Join(r.Means, ", "))
	}
	for _, err := range r.Missing {
		parts = append(parts, err.Error())
	}
	return strings.Join(parts, "; ")
}
