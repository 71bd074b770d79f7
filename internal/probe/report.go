package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// Report is what a probe has found out.
type Report struct {
	Servers     []ServerReport `json:"servers"` // in the order of the configuration
	Best        string         `json:"best"`    // name of the server to use; empty: none works
	Local       netip.Addr     `json:"local_address"`
	Mapped      []netip.Addr   `json:"mapped_addresses"` // as servers see them; several when the NAT has several
	NAT         NAT            `json:"nat"`
	Connections Connections    `json:"connections"`
	Mappings    []Mapping      `json:"mappings"` // from which the fields of NAT are concluded, in the order of the questions
	Seconds     float64        `json:"duration_seconds"`
}

// ServerReport is what is known about one server.
type ServerReport struct {
	Server      string     `json:"server"`
	Address     netip.Addr `json:"address"`
	Address2    netip.Addr `json:"address2"` // its second one, if there is one
	Works       bool       `json:"works"`
	Works2      bool       `json:"address2_works"`
	RTTMillis   float64    `json:"rtt_ms"` // median, 0: not known
	RTTSamples  int        `json:"rtt_samples"`
	Best        bool       `json:"best"`
	Explanation string     `json:"explanation"` // why it is not the best, or does not work
}

// Mapping is the mapping of a local port that one address of a server has seen.
type Mapping struct {
	Local  netip.AddrPort `json:"local"`
	Server netip.Addr     `json:"via"`
	Mapped netip.AddrPort `json:"mapped"`
}

// report returns what is known now.
func (m *machine) report(now time.Time, gateway PortMapping) Report {
	r := Report{Mappings: m.mappings(), Mapped: []netip.Addr{}, Seconds: now.Sub(m.began).Round(time.Millisecond).Seconds()}
	best := m.best()
	for _, t := range m.targets {
		r.Servers = append(r.Servers, t.report(best))
	}
	if best != nil {
		r.Best, r.Local = best.Name, best.asks[0].local.Addr()
	}
	for _, o := range r.Mappings {
		if !slices.Contains(r.Mapped, o.Mapped.Addr()) {
			r.Mapped = append(r.Mapped, o.Mapped.Addr())
		}
	}
	r.NAT = natOf(r.Mappings)
	r.NAT.Filtering = m.filtering()
	r.NAT.Hairpinning = m.hairpinning(r.NAT.Mapping)
	r.NAT.PortMapping, r.NAT.External = gateway.Protocol, gateway.External
	r.NAT.Kind = r.NAT.kind(r.Mapped)
	r.Connections = connections(r.NAT)
	return r
}

// mappings are those of the mapping ports, in the order in which the NAT made them.
func (m *machine) mappings() []Mapping {
	type numbered struct {
		Mapping
		order int
	}
	var all []numbered
	for _, t := range m.targets {
		for _, a := range t.asks {
			for via, mapped := range a.mapped {
				all = append(all, numbered{Mapping{a.local, via.Addr(), mapped}, a.sent[via].order})
			}
		}
	}
	slices.SortFunc(all, func(a, b numbered) int { return a.order - b.order })
	mappings := make([]Mapping, len(all))
	for i, n := range all {
		mappings[i] = n.Mapping
	}
	return mappings
}

// filtering returns what the answers from other addresses than the asked ones tell. Their absence tells something only if both
// addresses of a server answer.
func (m *machine) filtering() string {
	filtering := Unknown
	for _, t := range m.usable() {
		switch {
		case t.letIn:
			return EndpointIndependent
		case !t.second.IsZero():
			filtering = AddressOrPortDependent
		}
	}
	return filtering
}

// hairpinning returns the result of the test. A symmetric NAT may hairpin packets and then filter them, as the sender has another
// mapping toward the receiver. So its silence tells nothing.
func (m *machine) hairpinning(mapping string) string {
	switch {
	case m.hairpin.seen:
		return Yes
	case m.hairpin.tested() && mapping == EndpointIndependent:
		return No
	}
	return Unknown
}

// best returns the server to use: one that works, preferably with both addresses, with the least round-trip time; nil when none
// works.
func (m *machine) best() (best *target) {
	for _, t := range m.usable() {
		switch {
		case !t.works():
		case best == nil,
			best.second.IsZero() && !t.second.IsZero(),
			best.second.IsZero() == t.second.IsZero() && t.rtt() < best.rtt():
			best = t
		}
	}
	return best
}

// rtt returns the median round-trip time, a very long one when there is no sample.
func (t *target) rtt() time.Duration {
	if len(t.rtts) == 0 {
		return time.Hour
	}
	sorted := slices.Sorted(slices.Values(t.rtts))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

func (t *target) report(best *target) ServerReport {
	r := ServerReport{
		Server: t.Name, Address: t.Primary, Address2: t.secondary.Addr(), Works: t.works(), Works2: !t.second.IsZero(),
		RTTSamples: len(t.rtts), Best: t == best, Explanation: t.explain(best),
	}
	if r.RTTSamples > 0 {
		r.RTTMillis = float64(t.rtt().Round(10*time.Microsecond)) / float64(time.Millisecond)
	}
	return r
}

// explain says why the server is not the best, or what is wrong with it.
func (t *target) explain(best *target) string {
	switch {
	case t.Err != nil:
		return t.Err.Error()
	case !t.works():
		return t.failure()
	case t.second.IsZero() && best.second.IsZero() && t == best:
		return "only one of its addresses answers, so it cannot tell what kind of NAT there is"
	case t == best:
		return ""
	case t.second.IsZero() && !best.second.IsZero():
		return "only one of its addresses answers"
	case len(t.rtts) == 0:
		return "loses packets"
	case t.rtt() == best.rtt():
		return "equally fast"
	}
	return fmt.Sprintf("slower by %v", roundRTT(t.rtt()-best.rtt()))
}

// failure says why a server does not work.
func (t *target) failure() string {
	attempts := 0
	for _, a := range t.asks {
		attempts = max(attempts, a.sent[t.primary].times)
	}
	switch {
	case t.unsendable != nil:
		return fmt.Sprintf("cannot send to %v (is the network up?): %v", t.Primary, t.unsendable)
	case t.refused != nil:
		return fmt.Sprintf("%v answers, but not with a valid router advertisement: %v", t.Primary, t.refused)
	case t.noise > 0:
		return fmt.Sprintf("something answers at %v, but it is not a Teredo server", t.Primary)
	}
	return fmt.Sprintf("%v does not answer (asked from %d ports, %s); check its address, and that this network lets UDP out to port %d",
		t.Primary, len(t.asks), times(attempts), teredo.Port)
}

func times(n int) string {
	if n == 1 {
		return "once each"
	}
	return fmt.Sprintf("%d times each", n)
}
