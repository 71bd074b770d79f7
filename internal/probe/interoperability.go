package probe

import "slices"

// Kind is a kind of NAT of RFC 6081, figure 1.
type Kind string

// The kinds, in the order of the figure.
const (
	Cone                    Kind = "cone" // or no NAT at all
	AddressRestricted       Kind = "address-restricted"
	PortRestricted          Kind = "port-restricted"
	UPnPPortRestricted      Kind = "upnp-port-restricted"
	UPnPPortSymmetric       Kind = "upnp-port-symmetric"
	PortPreservingSymmetric Kind = "port-preserving-port-symmetric"
	SequentialPortSymmetric Kind = "sequential-port-symmetric"
	PortSymmetric           Kind = "port-symmetric"
	AddressSymmetric        Kind = "address-symmetric"
)

func kinds() []Kind {
	return []Kind{
		Cone, AddressRestricted, PortRestricted, UPnPPortRestricted, UPnPPortSymmetric,
		PortPreservingSymmetric, SequentialPortSymmetric, PortSymmetric, AddressSymmetric,
	}
}

// Cells of the figure. All others name the extensions of RFC 6081 that are needed.
const (
	always = "Yes"
	never  = "No"
)

// interoperability is RFC 6081, figure 1: a row for each kind of NAT of the client that sends first, a column for each kind of
// the other.
func interoperability() [][]string {
	const yes, no, sns, upnp, pp, ss = always, never, "SNS", "SNS+UPnP", "SNS+PP", "SNS+SS"
	return [][]string{
		{yes, yes, yes, yes, sns, sns, sns, sns, sns},
		{yes, yes, yes, yes, sns, sns, sns, sns, no},
		{yes, yes, yes, yes, no, pp, ss, no, no},
		{yes, yes, yes, yes, upnp, no, no, no, no},
		{sns, sns, no, upnp, upnp, no, no, no, no},
		{sns, sns, pp, no, no, pp, ss, no, no},
		{sns, sns, ss, no, no, no, no, no, no},
		{sns, sns, no, no, no, no, no, no, no},
		{sns, no, no, no, no, no, no, no, no},
	}
}

// Connections tells which clients a client here can exchange packets with, by the kinds of their NATs (RFC 6081, figure 1).
type Connections struct {
	Directly    []Kind `json:"directly"`      // all clients
	Extended    []Kind `json:"with_rfc6081"`  // clients with the extensions of RFC 6081, such as this suite
	IfTheyBegin []Kind `json:"if_they_begin"` // clients with these extensions, if they send first
	Not         []Kind `json:"not"`           // no clients
	Native      string `json:"native_ipv6"`   // native hosts, through relays: yes, some-relays, unknown
}

// SomeRelays means that not all relays can be used: RFC 4380 §5.4.2 has a relay drop packets that do not come from the mapping
// in their source address, as those of clients behind symmetric NATs do.
const SomeRelays = "some-relays"

// connections returns the row of the NAT's kind.
func connections(n NAT) Connections {
	c := Connections{Directly: []Kind{}, Extended: []Kind{}, IfTheyBegin: []Kind{}, Not: []Kind{}, Native: Yes}
	switch {
	case n.Kind == "":
		c.Native = Unknown
		return c
	case n.Mapping == Symmetric:
		c.Native = SomeRelays
	}
	own := slices.Index(kinds(), n.Kind)
	for other, kind := range kinds() {
		cell, back := interoperability()[own][other], interoperability()[other][own]
		switch {
		case cell == always:
			c.Directly = append(c.Directly, kind)
		case cell != never:
			c.Extended = append(c.Extended, kind)
		case back != never:
			c.IfTheyBegin = append(c.IfTheyBegin, kind)
		default:
			c.Not = append(c.Not, kind)
		}
	}
	return c
}
