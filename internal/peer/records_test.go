package peer_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// recordsOf are all records of a machine's peers.
func recordsOf(r *rig) (records []byte) {
	for next, more := 0, true; more; more = next != 0 {
		records, next = r.m.Table().AppendRecords(records, next, 3, r.now)
	}
	return records
}

// restorer is a machine that takes peers over.
type restorer interface {
	machine
	Restore(now time.Time, records []byte) int
}

// trusting is a relay that has exchanged packets with other.
func trusting(t testing.TB) *rig {
	r, _ := relayRig(t)
	r.want(r.send(data(host, other, 1)), knock)
	r.want(r.receive(peerMapped, bubble(other, r.asked)), "data 1 host>other to other")
	r.want(r.receive(peerMapped, data(other, host, 2)), "deliver data 2 other>host")
	r.want(r.receive(peerMapped, data(other, host, 3)), "deliver data 3 other>host")
	return r
}

// A relay that takes over the peers of another one carries their packets at once, counts on, and gives the path up when the other one
// would have.
func TestRestore(t *testing.T) {
	before := trusting(t)
	before.now = before.now.Add(10 * time.Second)
	r, m := relayRig(t)
	r.now = before.now.Add(time.Hour) // the clocks of two processes have nothing in common
	if n := m.Restore(r.now, recordsOf(before)); n != 1 {
		t.Fatalf("%d peers are restored, want 1", n)
	}
	was, is := before.m.Peers(before.now, 9), r.m.Peers(r.now, 9)
	if len(is) != 1 || is[0].Endpoint != was[0].Endpoint || is[0].SentPackets != was[0].SentPackets || is[0].ReceivedBytes != was[0].ReceivedBytes ||
		is[0].State != "trusted" || is[0].HeardSeconds != was[0].HeardSeconds {
		t.Errorf("the peers were %+v and are %+v", was, is)
	}
	if c := m.Counts(); c.Established != 1 {
		t.Errorf("%+v", c)
	}
	if err := r.m.Check(); err != nil {
		t.Error(err)
	}
	r.want(r.send(data(host, other, 4)), "data 4 host>other to other")
	r.want(r.receive(peerMapped, data(other, host, 5)), "deliver data 5 other>host")
	r.now = r.now.Add(31 * time.Second)
	r.want(r.send(data(host, other, 6)), knock)
}

// No path outlives its validity because it is handed on, and none that the rules do not permit is taken over.
func TestRestoreRefuses(t *testing.T) {
	good := recordsOf(trusting(t))
	change := func(word int, value uint64) []byte {
		b := append([]byte(nil), good...)
		binary.BigEndian.PutUint64(b[8*word:], value)
		return b
	}
	private := netip.MustParseAddr("10.0.0.1").As4()
	endpoint := func(a [4]byte, port uint64) uint64 { return 1<<48 | uint64(binary.BigEndian.Uint32(a[:]))<<16 | port }
	for name, records := range map[string][]byte{
		"nothing":                    nil,
		"a truncated record":         good[:len(good)-1],
		"an address that is no peer": change(0, 0x20010db800000000),
		"a client of a private NAT":  change(1, ^uint64(binary.BigEndian.Uint32(private[:]))),
		"a path to a private host":   change(2, endpoint(private, 1)),
		"a path to port 0":           change(2, endpoint(peerMapped.Addr().As4(), 0)),
		"a path that is not trusted": change(2, endpoint(peerMapped.Addr().As4(), 1)&^(1<<48)),
		"a path by a random port":    change(2, endpoint(peerMapped.Addr().As4(), 1)|1<<56),
		"another source, private":    change(3, endpoint(private, 1)),
		"heard too long ago":         change(4, uint64(30*time.Second)),
		"heard before time":          change(4, 1<<63),
		"sent before time":           change(5, 1<<63),
	} {
		t.Run(name, func(t *testing.T) {
			r, m := relayRig(t)
			if n := m.Restore(r.now, records); n != 0 || r.m.Len() != 0 {
				t.Errorf("%d peers are restored", n)
			}
		})
	}
	old := trusting(t)
	old.now = old.now.Add(30 * time.Second)
	if records := recordsOf(old); len(records) != 0 {
		t.Errorf("%d bytes of a peer that was last heard 30 s ago", len(records))
	}
}

// A list takes over as many as it has room for, and each once.
func TestRestoreIsBounded(t *testing.T) {
	r, cfg := newRig(t)
	cfg.Capacity = 512
	m := peer.NewRelay(r.now, relayAddr, cfg)
	r.m = m
	for n := range 300 {
		at := netip.AddrPortFrom(peerMapped.Addr(), uint16(1000+n))
		m.Establish(teredo.Address{Server: peerServer.Addr(), Mapped: at}.Addr(), at, m.Table().Stamp(r.now))
	}
	records := recordsOf(r)
	small, successor := relayRig(t)
	n := successor.Restore(small.now, append(records, records...))
	if n == 0 || n > 64 || small.m.Len() != n {
		t.Errorf("%d of 300 peers are restored, there are %d, and there is room for 64", n, small.m.Len())
	}
	if err := small.m.Check(); err != nil {
		t.Error(err)
	}
}

// FuzzRestore gives anything for records to a relay and to a client. What they take over they hand on, and it is the same.
func FuzzRestore(f *testing.F) {
	good := recordsOf(trusting(f))
	f.Add(good)
	f.Add(good[:len(good)-8])
	f.Add(append(good, make([]byte, len(good))...))
	f.Fuzz(func(t *testing.T, records []byte) {
		r, relay := relayRig(t)
		c, client := clientRig(t)
		for _, end := range []struct {
			*rig
			m restorer
		}{{r, relay}, {c, client}} {
			n := end.m.Restore(end.now, records)
			if err := end.m.Check(); err != nil {
				t.Fatal(err)
			}
			again := recordsOf(end.rig)
			if n != end.m.Len() || n > 64 || len(again)%80 != 0 || len(again)/80 != n {
				t.Errorf("%d peers, %d entries, %d bytes", n, end.m.Len(), len(again))
			}
			end.wait(time.Minute)
		}
	})
}
