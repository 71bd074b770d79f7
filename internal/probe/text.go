package probe

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// width is the length of the longest line of a report, unless a single word is longer.
const width = 100

// Print writes the report for a person to read.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	b.WriteString("Servers\n")
	var servers []row
	for _, s := range r.Servers {
		servers = append(servers, row{s.Server, s.words()})
	}
	writeRows(&b, servers)
	if r.Best != "" {
		b.WriteString("\nThis network\n")
		writeRows(&b, r.network())
		b.WriteString("\nConnections\n")
		writeRows(&b, r.Connections.rows())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// row is a name and its description.
type row struct{ name, words string }

func writeRows(b *strings.Builder, rows []row) {
	column := 0
	for _, r := range rows {
		column = max(column, utf8.RuneCountInString(r.name))
	}
	for _, r := range rows {
		fmt.Fprintf(b, "  %-*s  ", column, r.name)
		wrap(b, r.words, column+4)
	}
}

// wrap writes words in lines that all begin in the column.
func wrap(b *strings.Builder, words string, column int) {
	at := column
	for i, word := range strings.Fields(words) {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+length > width:
			b.WriteString("\n" + strings.Repeat(" ", column))
			at = column
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += length
	}
	b.WriteByte('\n')
}

// words describes a server.
func (s *ServerReport) words() string {
	if !s.Works {
		return "does not work: " + s.Explanation
	}
	var parts []string
	if s.RTTSamples > 0 {
		parts = append(parts, fmt.Sprint("answers in ", roundRTT(time.Duration(s.RTTMillis*float64(time.Millisecond)))))
	} else {
		parts = append(parts, "answers")
	}
	switch {
	case s.Works2:
		parts[0] += fmt.Sprintf(" from %v and %v", s.Address, s.Address2)
	case s.Address.String() != s.Server:
		parts[0] += fmt.Sprintf(" from %v", s.Address)
	}
	if s.Best {
		parts = append(parts, "the best")
	}
	if s.Explanation != "" {
		parts = append(parts, s.Explanation)
	}
	return strings.Join(parts, "; ")
}

// roundRTT rounds to what a person can use.
func roundRTT(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// network describes the NAT.
func (r *Report) network() []row {
	rows := []row{{"local address", addresses(r.Local)}, {"mapped address", addresses(r.Mapped...)}, {"NAT", r.NAT.kindWords()}}
	if r.NAT.Mapping != None {
		rows = append(rows, row{"mapping", r.NAT.mappingWords()})
	}
	rows = append(rows, row{"filtering", r.NAT.filteringWords()})
	if r.NAT.Mapping != None {
		rows = append(rows, row{"ports", r.NAT.portsWords()}, row{"hairpinning", r.NAT.hairpinningWords()})
	}
	if r.NAT.PortMapping != "" {
		rows = append(rows, row{"port mapping", r.NAT.portMappingWords(r.Mapped)})
	}
	return rows
}

func addresses(addrs ...netip.Addr) string {
	var known []string
	for _, a := range addrs {
		if a.IsValid() {
			known = append(known, a.String())
		}
	}
	if len(known) == 0 {
		return Unknown
	}
	return strings.Join(known, ", ")
}

func (n *NAT) kindWords() string {
	switch {
	case n.Kind == "":
		return "unknown: to find out, probe a server with two addresses, or a second server"
	case n.Mapping == None && n.Filtering == AddressOrPortDependent:
		return "none, but a firewall that filters like a port-restricted NAT"
	case n.Mapping == None && n.Filtering == EndpointIndependent:
		return "none"
	case n.Mapping == None:
		return "none; whether there is a firewall is unknown"
	case n.Kind == PortRestricted, n.Kind == UPnPPortRestricted:
		return n.Kind.words() + ", or the more open address-restricted"
	}
	return n.Kind.words()
}

func (n *NAT) mappingWords() string {
	switch n.Mapping {
	case EndpointIndependent:
		return "one for all destinations (endpoint-independent)"
	case Symmetric:
		return "a different one for each destination (symmetric); whether by address alone or also by port is unknown"
	}
	return Unknown
}

func (n *NAT) filteringWords() string {
	switch n.Filtering {
	case EndpointIndependent:
		return "none: lets in everyone (endpoint-independent)"
	case AddressOrPortDependent:
		return "lets in only hosts that this host has sent to; whether by address alone or also by port is unknown"
	}
	return "unknown: to find out, probe a server whose two addresses answer"
}

func (n *NAT) portsWords() string {
	switch n.Ports {
	case Preserved:
		return "preserved: the mapped port is the local one if that is free"
	case Sequential:
		return "assigned in sequence"
	case Random:
		return "chosen at random"
	}
	return Unknown
}

func (n *NAT) hairpinningWords() string {
	switch n.Hairpinning {
	case Yes:
		return "yes: clients behind this NAT reach each other by their mapped addresses"
	case No:
		return "no: clients behind this NAT reach each other by their local addresses only"
	}
	if n.Mapping == Symmetric {
		return "unknown: a symmetric NAT may filter what it sends back"
	}
	return Unknown
}

// portMappingWords describes what the gateway does. When the servers see another address than its own, another NAT follows.
func (n *NAT) portMappingWords(mapped []netip.Addr) string {
	if n.PortMapping == None {
		return "the gateway maps no ports"
	}
	protocol := strings.ToUpper(n.PortMapping)
	if n.PortMapping == "upnp" {
		protocol = "UPnP"
	}
	words := fmt.Sprintf("the gateway maps ports of %v by %s", n.External.Addr(), protocol)
	if !slices.Contains(mapped, n.External.Addr()) {
		words += ", but there is another NAT behind it"
	}
	return words
}

// words returns the kind for a person.
func (k Kind) words() string {
	switch k {
	case PortPreservingSymmetric:
		return "port-preserving symmetric"
	case SequentialPortSymmetric:
		return "sequential symmetric"
	case UPnPPortRestricted:
		return "port-restricted with port mapping"
	case UPnPPortSymmetric:
		return "symmetric with port mapping"
	case PortSymmetric:
		return "symmetric"
	case AddressSymmetric:
		return "symmetric with several addresses"
	}
	return string(k)
}

// rows describes who can be reached.
func (c *Connections) rows() []row {
	native := "through relays"
	switch c.Native {
	case Unknown:
		return []row{{"directly", "unknown, like the kind of the NAT"}, {"native IPv6", "unknown, like the kind of the NAT"}}
	case SomeRelays:
		native = "through relays that accept packets from symmetric NATs, as teredo-relay does"
	}
	var rows []row
	add := func(name, clients string, kinds []Kind) {
		if len(kinds) > 0 {
			rows = append(rows, row{name, clients + behind(kinds)})
		}
	}
	add("directly", "clients ", c.Directly)
	add("with RFC 6081", "clients with its extensions ", c.Extended)
	add("if they send first", "clients with its extensions ", c.IfTheyBegin)
	add("not", "clients ", c.Not)
	return append(rows, row{"native IPv6", native})
}

// behind names kinds of NAT.
func behind(kinds []Kind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.words())
	}
	words := names[len(names)-1]
	if len(names) > 1 {
		words = strings.Join(names[:len(names)-1], ", ") + " or " + words
	}
	words = "whose NAT is " + words
	if kinds[0] == Cone {
		words = "that have no NAT, or " + words
	}
	return words
}
