package udp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Coalesced units come apart into the datagrams that were sent, whatever the
// last one's size and however few of them each ReadBatch has room for.
func TestSplitUnits(t *testing.T) {
	for _, gro := range []int{1, 0} {
		for _, batch := range []int{1, 3, 50, 128} {
			t.Run(fmt.Sprintf("gro %d batch %d", gro, batch), func(t *testing.T) {
				tx, rx := open(t), open(t)
				setOption(t, rx, unix.SOL_UDP, unix.UDP_GRO, gro)
				to := rx.LocalAddr()
				ms := slices.Concat(
					messages(to, 50, 1280), sized(to, 1),
					messages(to, 63, 100), sized(to, 99),
					sized(to, 0), sized(to, 7, 7, 6), sized(to, 1280),
				)
				write(t, tx, ms)
				expect(t, rx, tx.LocalAddr(), batch, ms)
			})
		}
	}
}

// Only a UDP_GRO control message with a size that is possible splits a unit.
func TestSegmentSize(t *testing.T) {
	const unit = 1000
	for _, test := range []struct {
		name           string
		length         int
		level, typ     int32
		size           uint32
		want, datagram int
	}{
		{"coalesced", unix.CmsgSpace(4), unix.SOL_UDP, unix.UDP_GRO, 300, 300, 4},
		{"one datagram", unix.CmsgSpace(4), unix.SOL_UDP, unix.UDP_GRO, unit, unit, 1},
		{"larger than the unit", unix.CmsgSpace(4), unix.SOL_UDP, unix.UDP_GRO, unit + 1, unit + 1, 1},
		{"zero", unix.CmsgSpace(4), unix.SOL_UDP, unix.UDP_GRO, 0, unit, 1},
		{"none", 0, unix.SOL_UDP, unix.UDP_GRO, 300, unit, 1},
		{"another level", unix.CmsgSpace(4), unix.SOL_IP, unix.UDP_GRO, 300, unit, 1},
		{"another type", unix.CmsgSpace(4), unix.SOL_UDP, unix.UDP_SEGMENT, 300, unit, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newReceiver()
			r.filled, r.headers[0].len = 1, unit
			r.headers[0].SetControllen(test.length)
			r.controls[0].Level, r.controls[0].Type = test.level, test.typ
			binary.NativeEndian.PutUint32(r.controls[0].value[:], test.size)
			if got := r.segmentSize(unit); got != test.want {
				t.Errorf("segment size %d, want %d", got, test.want)
			}
			if got := r.take(make([]Message, 8)); got != test.datagram {
				t.Errorf("%d datagrams, want %d", got, test.datagram)
			}
		})
	}
}

// One recvmmsg brings about as much as the budget, whatever the size of the units.
func TestBudget(t *testing.T) {
	tx, rx := open(t), open(t)
	needSegments(t, tx)
	for _, test := range []struct{ size, limit int }{{1280, 4}, {100, 32}, {1280, 4}} {
		ms := messages(rx.LocalAddr(), 512, test.size)
		write(t, tx, ms)
		expect(t, rx, tx.LocalAddr(), 128, ms)
		if rx.receiver.limit < test.limit {
			t.Errorf("with %d bytes, the next receives at most %d units, want %d or more", test.size, rx.receiver.limit, test.limit)
		}
	}
}
