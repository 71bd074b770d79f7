package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/teredo"
)

// Peers is the peers command of a program that tells of each peer as a T, see Print.
type Peers[T any] struct {
	Query
	Sort   order `placeholder:"bytes|packets|age" help:"Show those first that have exchanged the most bytes or packets, or that have been known for the longest time (age). Without it those in use come first, and strangers last."`
	Limit  uint  `placeholder:"N" help:"Show so many peers at most."`
	Decode bool  `help:"Show what Teredo addresses contain: the mapped IPv4 address and port, and the server."`
	Watch  bool  `help:"Show the peers every second, with rates. With --json each list is one line."`
}

// Help is the detailed help.
func (Peers[T]) Help() string {
	return `It takes root, the user that the program runs as, or the group that its --control-group names: peers are whom this
host talks to.

Examples:

    ${name} peers
    ${name} peers --json
    ${name} peers --decode --sort bytes --limit 10
    ${name} peers --watch`
}

// Run prints the peers.
func (p *Peers[T]) Run(ctx context.Context, k *kong.Kong) error {
	all := p.asks("peers")
	ask := func(ctx context.Context) (json.RawMessage, error) {
		answer, err := all(ctx)
		if err != nil {
			return nil, err
		}
		return p.arrange(answer)
	}
	if p.Watch {
		return p.watch(ctx, k.Stdout, ask, p.table)
	}
	answer, err := ask(ctx)
	if err != nil {
		return err
	}
	return p.print(k.Stdout, answer, p.table)
}

// table is the text of a list of peers.
func (p *Peers[T]) table(to printer, s reading) (string, error) {
	if p.Decode {
		var decoded []Decoded
		if err := readAnswer("peers", s.answer, &decoded); err != nil {
			return "", err
		}
		to.beside = reflect.ValueOf(decoded)
	}
	return picture[[]T](to, s)
}

// order is a flag that says which peers come first; empty: in the order of the program.
type order string

// UnmarshalText parses bytes, packets or age.
func (o *order) UnmarshalText(text []byte) error {
	if *o = order(text); !slices.Contains([]order{"bytes", "packets", "age"}, *o) {
		return fmt.Errorf("%q is not an order: choose bytes, packets or age", text)
	}
	return nil
}

// ranked is what the order of peers depends on.
type ranked struct {
	Address         netip.Addr `json:"address"`
	SentPackets     uint64     `json:"sent_packets"`
	ReceivedPackets uint64     `json:"received_packets"`
	SentBytes       uint64     `json:"sent_bytes"`
	ReceivedBytes   uint64     `json:"received_bytes"`
	Since           float64    `json:"since_seconds"`
	as              json.RawMessage
}

// by returns what comes first when it is largest.
func (r ranked) by(o order) float64 {
	switch o {
	case "bytes":
		return float64(r.SentBytes) + float64(r.ReceivedBytes)
	case "packets":
		return float64(r.SentPackets) + float64(r.ReceivedPackets)
	case "age":
		return r.Since
	}
	return 0
}

// arrange sorts a list of peers, cuts it, and decodes its addresses, as the flags say.
func (p *Peers[T]) arrange(answer json.RawMessage) (json.RawMessage, error) {
	var items []json.RawMessage
	if err := readAnswer("peers", answer, &items); err != nil {
		return nil, err
	}
	list := make([]ranked, len(items))
	for i, item := range items {
		if err := readAnswer("peers", item, &list[i]); err != nil {
			return nil, err
		}
		list[i].as = item
	}
	slices.SortStableFunc(list, func(a, b ranked) int { return cmp.Compare(b.by(p.Sort), a.by(p.Sort)) })
	if p.Limit > 0 && uint(len(list)) > p.Limit {
		list = list[:p.Limit]
	}
	items = items[:0]
	for _, peer := range list {
		if p.Decode {
			peer.as = Decode(peer.Address).appendTo(peer.as)
		}
		items = append(items, peer.as)
	}
	return json.Marshal(items)
}

// Decoded is what a Teredo address contains. It is empty for other addresses.
type Decoded struct {
	Mapped netip.AddrPort `json:"mapped"` // IPv4 address and UDP port of the client, as its server sees them
	Server netip.Addr     `json:"server"`
}

// Decode takes a Teredo address apart.
func Decode(a netip.Addr) Decoded {
	parts, _ := teredo.ParseAddress(a)
	return Decoded{Mapped: parts.Mapped, Server: parts.Server}
}

// appendTo adds the fields to those of a JSON object, which must have some.
func (d Decoded) appendTo(object json.RawMessage) json.RawMessage {
	fields, err := json.Marshal(d)
	if err != nil {
		panic(err) // it has addresses only
	}
	object = bytes.TrimSuffix(bytes.TrimSpace(object), []byte("}"))
	return slices.Concat(object, []byte(","), fields[1:])
}
