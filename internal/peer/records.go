package peer

import (
	"encoding/binary"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
)

// RecordFormat is the version of records. Another form of them takes another number.
const RecordFormat = 1

// recordLen is the size of a record: address, path, other path, seconds since the last reception and the last transmission in
// nanoseconds, and the counters.
const recordLen = 16 + 8*8

// AppendRecords appends records of peers, from which another process can go on (Restore). It begins at the bucket from, looks at so many
// buckets, and returns the next one, 0 after the last. It has records of those peers whose path is valid and leads through the
// service port; for others the next packet begins a search. Any goroutine may call it. It delays nobody.
func (t *Table) AppendRecords(b []byte, from, buckets int, now time.Time) ([]byte, int) {
	stamp := t.Stamp(now)
	to := min(from+buckets, len(t.buckets))
	for i := from; i < to; i++ {
		for p := range t.buckets[i].all {
			w, source := p.path.Load()&^pathMarks, p.source.Load()
			if !p.valid(stamp) || w&pathTrusted == 0 || w.via() != 0 || source.via() != 0 {
				continue
			}
			for _, word := range []uint64{
				p.hi, p.lo, uint64(w), uint64(source), uint64(max(0, stamp-p.received.Load())), uint64(max(0, stamp-p.sent.Load())),
				p.sentPackets.Load(), p.receivedPackets.Load(), p.sentBytes.Load(), p.receivedBytes.Load(),
			} {
				b = binary.BigEndian.AppendUint64(b, word)
			}
		}
	}
	if to == len(t.buckets) {
		to = 0
	}
	return b, to
}

// Restore puts peers into the list that another process has known (Table.AppendRecords). It must be called before any other goroutine
// looks at the table. It leaves out what the rules of now do not permit, what there is no room for, and what is no record; it returns
// how many peers it has taken.
func (l *list) Restore(t time.Time, records []byte) (restored int) {
	now := l.table.Stamp(t)
	for ; len(records) >= recordLen; records = records[recordLen:] {
		if l.restore(now, records[:recordLen]) {
			restored++
		}
	}
	return restored
}

func (l *list) restore(now Stamp, record []byte) bool {
	word := func(n int) uint64 { return binary.BigEndian.Uint64(record[8*n:]) }
	k, to, source := key{word(0), word(1)}, path(word(2)), path(word(3))
	received, sent := word(4), word(5)
	switch {
	case l.table.lookup(k) != nil || received >= uint64(validity) || sent > 1<<62:
		return false
	case !l.mayRestore(to), source != 0 && !l.mayRestore(source):
		return false
	case k.isTeredo() && l.refuseTeredo(k) != drop.None, !k.isTeredo() && (l.table.relay || !l.native(k)):
		return false
	}
	c := &l.parts[sought]
	if word(6) > 0 && word(7) > 1 { // as for bidirectional
		c = &l.parts[established]
	}
	if used := l.parts[sought].n + l.parts[strangers].n; c.n >= c.most || c.part == sought && used >= c.most {
		return false
	}
	p := l.insert(k, now)
	p.path.Store(to)
	p.source.Store(source)
	p.received.Store(now - Stamp(received))
	p.sent.Store(now - min(Stamp(sent), forgetAfter))
	p.sentPackets.Store(word(6))
	p.receivedPackets.Store(word(7))
	p.sentBytes.Store(word(8))
	p.receivedBytes.Store(word(9))
	c.push(p, p.lastUse())
	return true
}

// mayRestore reports whether a word is a trusted path through the service port to an endpoint that packets may go to.
func (l *list) mayRestore(w path) bool {
	e := w.endpoint()
	return w == pathTo(e, 0) && e.port() != 0 && l.filter.Global(e.addr())
}
