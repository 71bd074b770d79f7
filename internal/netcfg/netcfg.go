// Package netcfg gives the Teredo interface its addresses, routes and settings, and asks the host's network configuration
// the few questions a Teredo node has.
//
// It acts on the network namespace of the calling thread. Every function that changes something needs root or CAP_NET_ADMIN,
// may be called again with the same arguments, and returns errors that say what to do when a person can mend the cause.
// Only Linux is supported: elsewhere every function returns an error that wraps errors.ErrUnsupported.
package netcfg

import "errors"

// ErrIPv6Off says that the host has no IPv6 to give an interface to.
var ErrIPv6Off = errors.New("IPv6 is turned off on this host")

// ErrRouteTaken says that another interface already has the route 2001::/32.
var ErrRouteTaken = errors.New("another interface already carries the route 2001::/32")
