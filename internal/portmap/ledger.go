package portmap

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/internal/state"
)

// mostRecords bounds the ledger: mappings of networks to which the host does not come back are forgotten in the end.
const mostRecords = 8

// record is what it takes to remove a mapping, in this run or in a later one.
type record struct {
	Protocol string         `json:"protocol"`
	Gateway  netip.Addr     `json:"gateway"`
	Device   string         `json:"device,omitempty"` // of UPnP: the gateway's unique name
	Internal netip.AddrPort `json:"internal"`         // with UPnP the external port is the same
	Nonce    string         `json:"nonce,omitempty"`  // of PCP, in hex
}

// sameService reports whether one service of one gateway made the mappings of both.
func (r record) sameService(other record) bool {
	return r.Protocol == other.Protocol && r.Gateway == other.Gateway && r.Device == other.Device
}

// ledger is the list of the mappings that there may be, oldest first. It is kept in a file, which is absent when there are
// none, as the persisted port of RFC 6081 §5.3.1.
type ledger struct {
	path    string
	records []record
}

// openLedger reads the ledger of earlier runs. With an error it is empty, and can be used.
func openLedger(path string) (*ledger, error) {
	l := &ledger{path: path}
	err := state.Load(path, &l.records)
	if err != nil {
		l.records = nil
		return l, fmt.Errorf("the list of port mappings: %w", err)
	}
	l.bound()
	return l, nil
}

// add notes a mapping, as the latest.
func (l *ledger) add(r record) error {
	l.records = append(l.without(r), r)
	l.bound()
	return l.save()
}

// has reports whether there may be a mapping.
func (l *ledger) has(r record) bool { return slices.Contains(l.records, r) }

// drop forgets a mapping that is no more.
func (l *ledger) drop(r record) error {
	l.records = l.without(r)
	return l.save()
}

func (l *ledger) without(r record) []record {
	return slices.DeleteFunc(slices.Clone(l.records), func(other record) bool { return other == r })
}

func (l *ledger) bound() { l.records = l.records[max(0, len(l.records)-mostRecords):] }

// save replaces the file in one step.
func (l *ledger) save() error {
	var err error
	if len(l.records) == 0 {
		err = state.Remove(l.path)
	} else {
		err = state.Save(l.path, l.records)
	}
	if err != nil {
		return fmt.Errorf("keep the list of port mappings: %w", err)
	}
	return nil
}
