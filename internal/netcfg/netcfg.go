// Package netcfg gives the Teredo interface its addresses, routes and settings, and asks the host's network configuration
// the few questions a Teredo node has.
//
// It acts on the network namespace of the calling thread. Every function that changes something needs root or CAP_NET_ADMIN,
// may be called again with the same arguments, and returns errors that say what to do when a person can mend the cause.
// Only Linux is supported: elsewhere every function returns an error that wraps errors.ErrUnsupported.
package netcfg

import "errors"

// Settings is the folder that has one with IPv6 settings for each interface, and "all".
const Settings = "/proc/sys/net/ipv6/conf"

// ErrIPv6Off says that the host has no IPv6 to give an interface to.
var ErrIPv6Off = errors.New("IPv6 is turned off on this host")

// ErrRouteTaken says that another interface already has the route 2001::/32.
var ErrRouteTaken = errors.New("another interface already carries the route 2001::/32")

// Change says what a host's network configuration may have seen since the last Change. Look at the configuration anew.
type Change struct {
	Links     bool // an interface has come, gone, or changed its state or settings
	Addresses bool // an interface has got or lost an IPv4 or IPv6 address, or its lifetime or state has changed
	Routes    bool // IPv4 or IPv6 routes or routing rules
	Resumed   bool // the clock has jumped: the host has slept, or the clock was set
	Own       bool // something of the above kinds, at our own interface
}

// with is what two changes amount to.
func (c Change) with(d Change) Change {
	return Change{
		Links:     c.Links || d.Links,
		Addresses: c.Addresses || d.Addresses,
		Routes:    c.Routes || d.Routes,
		Resumed:   c.Resumed || d.Resumed,
		Own:       c.Own || d.Own,
	}
}
