// Package traffic keeps the history of a host's traffic: how many bytes were IPv4, native IPv6 and Teredo on each day.
//
// History holds the rules. It opens no file and reads no clock. Source reads the kernel's counters, and Keeper gives them to a
// History and keeps it in a file.
package traffic

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// MostDays is how many days a history has at most.
const MostDays = 30

// Bytes are bytes of IP packets with their headers, both ways. The packets of Teredo count once: those of IPv4 that carry them do not.
type Bytes struct {
	IPv4   uint64 `json:"ipv4_bytes"`
	IPv6   uint64 `json:"ipv6_bytes"` // native
	Teredo uint64 `json:"teredo_bytes"`
}

func (b *Bytes) add(more Bytes) {
	b.IPv4 += more.IPv4
	b.IPv6 += more.IPv6
	b.Teredo += more.Teredo
}

// Day is the traffic of one day.
type Day struct {
	Date string `json:"date"` // of the local time, as 2006-01-02
	Bytes
}

// Host are counters of the kernel: bytes of IP packets with their headers, both ways. A packet over the loopback interface goes both
// ways, so it counts twice.
type Host struct {
	IPv4      uint64 `json:"ipv4"` // of all packets, loopback included
	IPv6      uint64 `json:"ipv6"`
	Loopback  uint64 `json:"loopback"` // of the packets over the loopback interface, IPv4 and IPv6
	Loopback6 uint64 `json:"loopback6"`
}

// Tunnel are counters of a Teredo tunnel since it was made.
type Tunnel struct {
	Teredo uint64 // bytes of its IPv6 packets
	InIPv6 uint64 // of these, what Host.IPv6 counts
	InIPv4 uint64 // bytes of the IPv4 packets that carry them, as far as Host.IPv4 counts these
}

// Reading is what all counters say at one moment.
type Reading struct {
	Boot      string        // tells one start of the host from others
	Namespace string        // whose counters these are
	Uptime    time.Duration // since the host's start, times of sleep included
	Host      Host
	Tunnel    Tunnel
}

// History is the traffic of the last days. In its JSON form it outlasts the program.
type History struct {
	Boot      string        `json:"boot"` // of the latest reading, as is what follows; empty: there was none
	Namespace string        `json:"namespace"`
	Uptime    time.Duration `json:"uptime_ns"`
	Host      Host          `json:"host"`
	Days      []Day         `json:"days"` // in the order in which they were written to last

	tunnel       Tunnel // of the latest reading of this program
	owed4, owed6 int64  // what was taken out of IPv4 and IPv6 before it was counted there
}

// Check makes a history that was read from a file fit to use: its days have dates, each another one, and are not too many.
func (h *History) Check() {
	seen := make(map[string]bool)
	h.Days = slices.DeleteFunc(h.Days, func(d Day) bool {
		_, err := time.Parse(time.DateOnly, d.Date)
		again := seen[d.Date]
		seen[d.Date] = true
		return err != nil || again
	})
	h.trim()
}

// Take takes a reading made at now, and spreads what was counted since the one before evenly over the time between the two. That time
// is a difference of uptimes, so a clock that was set plays no part in it.
func (h *History) Take(now time.Time, r Reading) {
	before, elapsed := h.Host, r.Uptime-h.Uptime
	switch {
	case h.Boot == "", h.Boot == r.Boot && h.Namespace != r.Namespace:
		before, elapsed = r.Host, 0 // nobody knows when this was counted
	case h.Boot != r.Boot:
		before, elapsed = Host{}, r.Uptime // all counters began at zero
	}
	loopback6 := grown(before.Loopback6, r.Host.Loopback6)
	loopback4 := grown(before.Loopback, r.Host.Loopback) - loopback6
	ipv4 := grown(before.IPv4, r.Host.IPv4) - loopback4 - grown(h.tunnel.InIPv4, r.Tunnel.InIPv4)
	ipv6 := grown(before.IPv6, r.Host.IPv6) - loopback6 - grown(h.tunnel.InIPv6, r.Tunnel.InIPv6)
	teredo := grown(h.tunnel.Teredo, r.Tunnel.Teredo)
	h.spread(now, elapsed, Bytes{due(ipv4, &h.owed4), due(ipv6, &h.owed6), uint64(teredo)})
	h.Boot, h.Namespace, h.Uptime, h.Host, h.tunnel = r.Boot, r.Namespace, r.Uptime, r.Host, r.Tunnel
}

// grown is by how much a counter has grown. One that is smaller than before has begun anew.
func grown(before, now uint64) int64 {
	if now < before {
		return int64(now)
	}
	return int64(now - before)
}

// due is how many bytes may be counted of n, which is negative when more was taken out than was counted: counters are read one after
// the other, while packets go on. Such bytes are owed, and the next ones make up for them.
func due(n int64, owed *int64) uint64 {
	n -= *owed
	*owed = max(-n, 0)
	return uint64(max(n, 0))
}

// spread adds bytes to the days of the time that has elapsed until now.
func (h *History) spread(now time.Time, elapsed time.Duration, all Bytes) {
	if all == (Bytes{}) {
		return
	}
	start := now.Add(-max(elapsed, 0))
	until := start
	if first := now.AddDate(0, 0, 1-MostDays); until.Before(first) {
		until = first
	}
	upTo := func(until time.Time) Bytes {
		share := float64(until.Sub(start)) / float64(max(elapsed, 1))
		part := func(n uint64) uint64 { return min(n, uint64(math.Round(float64(n)*share))) }
		return Bytes{part(all.IPv4), part(all.IPv6), part(all.Teredo)}
	}
	done := upTo(until) // too long ago
	for {
		year, month, day := until.Date()
		next := time.Date(year, month, day+1, 0, 0, 0, 0, now.Location())
		if !next.After(until) || next.After(now) {
			break
		}
		ends := upTo(next)
		h.day(until).add(Bytes{ends.IPv4 - done.IPv4, ends.IPv6 - done.IPv6, ends.Teredo - done.Teredo})
		until, done = next, ends
	}
	h.day(now).add(Bytes{all.IPv4 - done.IPv4, all.IPv6 - done.IPv6, all.Teredo - done.Teredo})
	h.trim()
}

// day is the day of a time, which is the last of the history then.
func (h *History) day(at time.Time) *Day {
	date := at.Format(time.DateOnly)
	d := Day{Date: date}
	if i := slices.IndexFunc(h.Days, func(d Day) bool { return d.Date == date }); i >= 0 {
		d = h.Days[i]
		h.Days = slices.Delete(h.Days, i, i+1)
	}
	h.Days = append(h.Days, d)
	return &h.Days[len(h.Days)-1]
}

// trim forgets the days that were written to longest ago. The dates do not count: a clock that was wrong for a moment has made one day
// of the far past or future, which must not push out all others.
func (h *History) trim() { h.Days = slices.Delete(h.Days, 0, max(len(h.Days)-MostDays, 0)) }

// Report is a history for others to read.
type Report struct {
	Today Day   `json:"today"`
	Days  []Day `json:"days"` // with traffic, of the last 30 including today, oldest first
}

// Report tells the history at now. Days that a wrong clock has made lie outside of the time that it tells of.
func (h *History) Report(now time.Time) Report {
	today, first := now.Format(time.DateOnly), now.AddDate(0, 0, 1-MostDays).Format(time.DateOnly)
	r := Report{Today: Day{Date: today}, Days: []Day{}}
	for _, d := range h.Days {
		if d.Date == today {
			r.Today = d
		}
		if first <= d.Date && d.Date <= today {
			r.Days = append(r.Days, d)
		}
	}
	slices.SortFunc(r.Days, func(a, b Day) int { return cmp.Compare(a.Date, b.Date) })
	return r
}
