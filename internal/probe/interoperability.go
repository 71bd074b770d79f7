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

// Cells of the figure. Those not here need extensions of RFC 6081.
const (
	always = "Yes"
	never  = "No"
)

// figure is RFC 6081, figure 1: a row for each kind of the client that begins, a column for each kind of the other.
func figure() [][]string {
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

// Connections say behind which kinds of NAT those are that a client here reaches, by RFC 6081, figure 1.
type Connections struct {
	Directly    []Kind `json:"directly"`      // any client
	Extended    []Kind `json:"with_rfc6081"`  // those that have the extensions of RFC 6081, as this suite has
	IfTheyBegin []Kind `json:"if_they_begin"` // those, too, but only when the other side sends first
	Not         []Kind `json:"not"`
	Native      string `json:"native_ipv6"` // native hosts, through relays: yes, some-relays, unknown
}

// SomeRelays is where native hosts are reached through relays only that take packets from other ports than the address in
// their source says, on the strength of a nonce.
const SomeRelays = "some-relays"

// connections reads the row of the NAT's kind.
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
		cell, back := figure()[own][other], figure()[other][own]
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
