package client

import (
	"fmt"

	"github.com/teredo-suite/teredo/tunnel"
)

// Extensions are the parts of RFC 6081 in use: all but those named.
func Extensions(disabled []string) tunnel.Extensions {
	e := tunnel.Extensions{
		SymmetricNAT: true, UPnP: true, PortPreserving: true, Sequential: true, Hairpinning: true, LoadReduction: true,
	}
	for _, name := range disabled {
		switch name {
		case "symmetric-nat":
			e.SymmetricNAT, e.UPnP, e.PortPreserving, e.Sequential = false, false, false, false
		case "upnp":
			e.UPnP = false
		case "port-preserving":
			e.PortPreserving, e.Sequential = false, false
		case "sequential":
			e.Sequential = false
		case "hairpinning":
			e.Hairpinning = false
		case "load-reduction":
			e.LoadReduction = false
		}
	}
	return e
}

// CheckExtensions finds names of extensions that there are not.
func CheckExtensions(disabled []string) error {
	for _, name := range disabled {
		if Extensions([]string{name}) == Extensions(nil) {
			return fmt.Errorf("there is no extension %q to turn off: choose from symmetric-nat, upnp, port-preserving, sequential, hairpinning, load-reduction", name)
		}
	}
	return nil
}
