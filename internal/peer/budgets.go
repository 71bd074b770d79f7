package peer

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/internal/budget"
)

// wantedFor is how long our side is taken to want a path since it last asked for one: as long as a search may take.
const wantedFor = (transmissions + 1) * retryAfter

const second = Stamp(time.Second)

// limit is one of the budgets, or of the shares, that strangers use up.
type limit uint8

// Limits. From bubbles on they are totals: datagrams of a kind, whoever has caused them.
const (
	source        limit = iota // datagrams that one IPv4 address or native /64 causes
	target                     // datagrams that go to one IPv4 address
	entries                    // entries of one IPv4 address or native /64 in the list
	ports                      // random ports
	bubbles                    // of a client to peers that it does not know
	acquaintances              // of a client to peers that it has exchanged packets with
	tests                      // connectivity tests of native sources
	answers                    // to bubbles of relays
	natives                    // of a relay, bubbles that packets of native hosts cause
	returners                  // of a relay, bubbles that clients cause which it does not know
	limits
)

func (l limit) String() string {
	return [limits]string{
		"source", "target", "entries", "ports", "bubbles", "acquaintances", "tests", "answers", "natives", "returners",
	}[l]
}

// budgets bound what strangers cause (SEC-NOAMP-01, SEC-DOS-01): datagrams for each source, to each target, and in all; and
// entries of the list. What our own side looks for is not counted.
type budgets struct {
	sources, targets, newcomers *budget.Keyed
	rates                       [limits]budget.Rate // of the totals
	totals                      [limits]budget.Bucket
	exhausted                   [limits]uint64
	caused                      uint64       // datagrams
	own                         []netip.Addr // of a relay: servers without a limit of their own, see isOwn
}

// newBudgets makes budgets for a number of addresses at a time. The rates are those of each source, of each target, of the entries
// of each source, and of each of the totals.
func newBudgets(addresses int, source, target, entries, total budget.Rate, totals ...limit) *budgets {
	b := &budgets{
		sources:   budget.NewKeyed(addresses, source),
		targets:   budget.NewKeyed(addresses, target),
		newcomers: budget.NewKeyed(addresses, entries),
	}
	for _, kind := range totals {
		b.rates[kind] = total
	}
	return b
}

// clientBudgets are enough for twenty strangers a second, and for a neighbourhood of them behind one carrier's NAT.
func clientBudgets() *budgets {
	return newBudgets(1024, budget.Rate{PerSecond: 4, Burst: 48}, budget.Rate{PerSecond: 8, Burst: 48}, budget.Rate{PerSecond: 2, Burst: 64},
		budget.Rate{PerSecond: 64, Burst: 256}, bubbles, acquaintances, tests, answers)
}

// relayBudgets are enough for the clients of a busy relay to be back within seconds of its restart: what a client's answer shows to
// be no attack is given back.
func relayBudgets() *budgets {
	return newBudgets(1<<14, budget.Rate{PerSecond: 100, Burst: 1000}, budget.Rate{PerSecond: 40, Burst: 400}, budget.Rate{PerSecond: 100, Burst: 1000},
		budget.Rate{PerSecond: 1000, Burst: 1000}, natives, returners)
}

// networkOf is what key.network is, for an IPv4 address or a native one.
func networkOf(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:]))
	}
	return keyOf(a).hi
}

// mayCause reports whether a datagram of a kind may go to an address that was caused by src, a key's network.
func (b *budgets) mayCause(kind limit, src uint64, to netip.Addr, now Stamp) bool {
	at := int64(now)
	return b.allows(source, b.sources.Allow(at, src)) && b.mayReach(to, b.sources.Low(at, src), at) && b.mayLeave(kind, b.rates[kind], at)
}

// mayReach takes a datagram out of the budget of the address that it goes to. Repetitions leave half of the burst to first attempts, and
// so do sources that have little of their own budget left: one host that looks for clients which do not exist would otherwise take all
// that the clients of one server have together.
func (b *budgets) mayReach(to netip.Addr, half bool, at int64) bool {
	switch {
	case b.isOwn(to):
		return true
	case half:
		return b.allows(target, b.targets.AllowAgain(at, networkOf(to)))
	}
	return b.allows(target, b.targets.Allow(at, networkOf(to)))
}

// mayRepeat is mayCause for the repetition of what nobody has answered. Under load there are no repetitions: they leave half of each burst
// to first attempts.
func (b *budgets) mayRepeat(kind limit, to netip.Addr, now Stamp) bool {
	at := int64(now)
	return b.mayReach(to, true, at) && b.mayLeave(kind, b.rates[kind].Half(), at)
}

// mayLeave takes a datagram out of a total, and counts it.
func (b *budgets) mayLeave(kind limit, rate budget.Rate, at int64) bool {
	ok := b.allows(kind, b.totals[kind].Allow(at, rate, 1))
	if ok {
		b.caused++
	}
	return ok
}

// allows counts a budget that had nothing left.
func (b *budgets) allows(l limit, ok bool) bool {
	if !ok {
		b.exhausted[l]++
	}
	return ok
}

// isOwn reports whether an address is that of a server of the relay's operator. It needs no protection from bubbles, and a limit
// for it would be one for all clients that have native addresses.
func (b *budgets) isOwn(to netip.Addr) bool { return slices.Contains(b.own, to) }

// giveBack undoes mayCause for a datagram that was answered.
func (b *budgets) giveBack(kind limit, src uint64, to netip.Addr) {
	b.sources.Return(src)
	if !b.isOwn(to) {
		b.targets.Return(networkOf(to))
	}
	b.totals[kind].Return(b.rates[kind], 1)
}

// mayEnter reports whether an address may have a new entry.
func (b *budgets) mayEnter(k key, now Stamp) bool {
	return b.allows(entries, b.newcomers.Allow(int64(now), k.network()))
}

// Budgets describes what strangers have caused.
type Budgets struct {
	StrangerDatagrams uint64            `json:"stranger_datagrams"` // sent because of strangers
	Exhausted         map[string]uint64 `json:"budgets"`            // how often each budget had nothing left
}

// Budgets describes what strangers have caused so far.
func (l *list) Budgets() Budgets {
	d := Budgets{l.budgets.caused, make(map[string]uint64)}
	for i := range limits {
		if n := l.budgets.exhausted[i]; n > 0 {
			d.Exhausted[i.String()] = n
		}
	}
	return d
}

// want notes that our own side wants a path to the peer. Peer.wanted is the time in seconds plus one; zero: never.
func (p *Peer) want(now Stamp) { p.wanted = uint32(now/second) + 1 }

// isWanted reports whether our own side has wanted a path to the peer just now.
func (p *Peer) isWanted(now Stamp) bool {
	return p != nil && p.wanted != 0 && now-Stamp(p.wanted-1)*second < wantedFor
}

// mayAnswer reports whether a datagram may go to an address because of what the peer k has sent. p is its entry, if it has one.
// What our own side wants may always be sent.
func (c *Client) mayAnswer(k key, p *Peer, to netip.Addr, now Stamp) bool {
	kind := bubbles
	switch {
	case p.isWanted(now):
		return true
	case !k.isTeredo():
		kind = tests
	case p != nil && p.bidirectional():
		kind = acquaintances
	}
	return c.budgets.mayCause(kind, k.network(), to, now)
}
