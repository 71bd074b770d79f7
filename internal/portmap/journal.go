package portmap

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/internal/state"
)

// mostRecords bounds the journal. The oldest records go first: they may be of networks to which the host never comes back.
const mostRecords = 8

// record is what is needed to remove a mapping, in this run or in a later one.
type record struct {
	Protocol string         `json:"protocol"`
	Gateway  netip.Addr     `json:"gateway"`
	Device   string         `json:"device,omitempty"` // of UPnP: the gateway's unique name
	Internal netip.AddrPort `json:"internal"`         // with UPnP the external port is the same
	Nonce    string         `json:"nonce,omitempty"`  // of PCP, in hex
}

// sameService reports whether the same service of the same gateway made both mappings.
func (r record) sameService(other record) bool {
	return r.Protocol == other.Protocol && r.Gateway == other.Gateway && r.Device == other.Device
}

// journal is the list of the mappings that may exist at gateways, the oldest first. It is kept in a file, in place of the
// persisted port of RFC 6081 §5.3.1. Without mappings there is no file.
type journal struct {
	path    string
	records []record
}

// openJournal reads the journal of earlier runs. After an error the journal is empty, and can be used.
func openJournal(path string) (*journal, error) {
	l := &journal{path: path}
	err := state.Load(path, &l.records)
	if err != nil {
		l.records = nil
		return l, fmt.Errorf("read the list of port mappings: %w", err)
	}
	l.bound()
	return l, nil
}

// add records a mapping as the newest one.
func (l *journal) add(r record) error {
	l.records = append(l.without(r), r)
	l.bound()
	return l.save()
}

// has reports whether there may be a mapping.
func (l *journal) has(r record) bool { return slices.Contains(l.records, r) }

// drop removes the record of a mapping that no longer exists.
func (l *journal) drop(r record) error {
	l.records = l.without(r)
	return l.save()
}

func (l *journal) without(r record) []record {
	return slices.DeleteFunc(slices.Clone(l.records), func(other record) bool { return other == r })
}

func (l *journal) bound() { l.records = l.records[max(0, len(l.records)-mostRecords):] }

// save replaces the file in one step.
func (l *journal) save() error {
	var err error
	if len(l.records) == 0 {
		err = state.Remove(l.path)
	} else {
		err = state.Save(l.path, l.records)
	}
	if err != nil {
		return fmt.Errorf("write the list of port mappings: %w", err)
	}
	return nil
}
