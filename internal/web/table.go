package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	fewRows  = 25  // of the table, in one answer, when a caller does not say how many
	mostRows = 100 // and at most
)

// table is the list of peers at one moment, for viewers that see a part of it, in an order of their own.
type table struct {
	list    reflect.Value  // the slice of peers
	fields  map[string]int // where a peer has the field with a JSON name
	decoded []decoded
	clients clients

	mu     sync.Mutex
	orders map[string][]int // rows by the field that they are sorted by
	texts  []string         // what is searched; nil: nobody has
}

// decoded is what a Teredo address says of its client.
type decoded struct {
	Mapped *netip.AddrPort `json:"mapped,omitempty"` // nil: it is not a Teredo address
	Server *netip.Addr     `json:"server,omitempty"`
	Cone   bool            `json:"cone,omitempty"`
}

// clients are the Teredo addresses in the list, by what they say of their NAT.
type clients struct {
	Cone       int `json:"cone"`
	Restricted int `json:"restricted"` // or symmetric: an address cannot tell
}

// newTable makes a table of a slice of structs, which have an Address.
func newTable(list any) (*table, error) {
	t := &table{list: reflect.ValueOf(list), fields: make(map[string]int), orders: make(map[string][]int)}
	row := t.list.Type().Elem()
	for i := range row.NumField() {
		name, _, _ := strings.Cut(row.Field(i).Tag.Get("json"), ",")
		t.fields[name] = i
	}
	address, ok := t.fields["address"]
	if !ok {
		return nil, fmt.Errorf("a %v has no address", row)
	}
	t.decoded = make([]decoded, t.list.Len())
	for i := range t.decoded {
		addr, _ := t.list.Index(i).Field(address).Interface().(netip.Addr)
		parts, ok := teredo.ParseAddress(addr)
		if !ok {
			continue
		}
		d := decoded{&parts.Mapped, &parts.Server, teredo.ConeBit(addr)}
		if t.decoded[i] = d; d.Cone {
			t.clients.Cone++
		} else {
			t.clients.Restricted++
		}
	}
	return t, nil
}

// order returns the rows sorted by a field, the largest first if it begins with "-".
func (t *table) order(by string) ([]int, error) {
	name, down := strings.CutPrefix(by, "-")
	field, ok := t.fields[name]
	if !ok {
		return nil, fmt.Errorf("peers have no field %q", name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if rows, ok := t.orders[by]; ok {
		return rows, nil
	}
	rows := make([]int, t.list.Len())
	for i := range rows {
		rows[i] = i
	}
	slices.SortStableFunc(rows, func(i, j int) int {
		if down {
			i, j = j, i
		}
		return compare(t.list.Index(i).Field(field), t.list.Index(j).Field(field))
	})
	t.orders[by] = rows
	return rows, nil
}

// compare compares two values of one type.
func compare(a, b reflect.Value) int {
	switch {
	case a.CanInt():
		return cmp.Compare(a.Int(), b.Int())
	case a.CanUint():
		return cmp.Compare(a.Uint(), b.Uint())
	case a.CanFloat():
		return cmp.Compare(a.Float(), b.Float())
	case a.Kind() == reflect.String:
		return cmp.Compare(a.String(), b.String())
	}
	switch a := a.Interface().(type) {
	case netip.Addr:
		return a.Compare(b.Interface().(netip.Addr))
	case netip.AddrPort:
		return a.Compare(b.Interface().(netip.AddrPort))
	}
	return 0
}

// matching returns those of the rows that have the text.
func (t *table) matching(rows []int, text string) []int {
	if text == "" {
		return rows
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.texts == nil {
		t.texts = make([]string, t.list.Len())
		for i := range t.texts {
			t.texts[i] = t.text(i)
		}
	}
	text = strings.ToLower(text)
	return slices.DeleteFunc(slices.Clone(rows), func(i int) bool { return !strings.Contains(t.texts[i], text) })
}

// text is what can be searched of a row: words and addresses.
func (t *table) text(i int) string {
	var b strings.Builder
	row := t.list.Index(i)
	for _, f := range t.fields {
		switch v := row.Field(f).Interface().(type) {
		case string:
			b.WriteString(strings.ToLower(v) + "\n")
		case fmt.Stringer:
			b.WriteString(v.String() + "\n")
		}
	}
	if d := t.decoded[i]; d.Mapped != nil {
		b.WriteString(d.Mapped.String() + "\n" + d.Server.String())
	}
	return b.String()
}

// row is a peer in JSON form, with what its address says.
func (t *table) row(i int) (json.RawMessage, error) {
	peer, err := json.Marshal(t.list.Index(i).Interface())
	if err != nil {
		return nil, err
	}
	said, err := json.Marshal(t.decoded[i])
	if err != nil || len(said) == len("{}") {
		return peer, err
	}
	return slices.Concat(peer[:len(peer)-1], []byte(","), said[1:]), nil
}

// serveTable sends a part of the table.
func (a *answers) serveTable(w http.ResponseWriter, r *http.Request) {
	limit, limitErr := number(r, "limit", 1, mostRows, fewRows)
	offset, offsetErr := number(r, "offset", 0, 1<<30, 0)
	if err := cmp.Or(limitErr, offsetErr); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t, err := a.table.get(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	query := r.URL.Query()
	rows, err := t.order(cmp.Or(query.Get("sort"), "address"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rows = t.matching(rows, query.Get("match"))
	answer := struct {
		All      int               `json:"all"`
		Matching int               `json:"matching"`
		Clients  clients           `json:"clients"`
		Rows     []json.RawMessage `json:"rows"`
	}{t.list.Len(), len(rows), t.clients, []json.RawMessage{}}
	for _, i := range rows[min(offset, len(rows)):min(offset+limit, len(rows))] {
		row, err := t.row(i)
		if err != nil {
			fail(w, err)
			return
		}
		answer.Rows = append(answer.Rows, row)
	}
	sendJSON(w, r, answer)
}
