package probe

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// wait is something that the probe waits for, with a limit.
type wait struct {
	what  string
	until time.Time
}

// waits returns what the probe waits for now. It has ended when there is nothing.
func (m *machine) waits(now time.Time) (waits []wait) {
	limit := m.began.Add(m.timeout)
	for _, t := range m.usable() {
		waits = append(waits, m.waitOf(t))
	}
	waits = append(waits, m.hairpin.wait())
	for i := range waits {
		if waits[i].until.After(limit) {
			waits[i].until = limit
		}
	}
	return slices.DeleteFunc(waits, func(w wait) bool { return !w.until.After(now) })
}

// waitOf returns what is still unknown about a server.
func (m *machine) waitOf(t *target) wait {
	switch {
	case !t.works() && t.silent():
		return wait{}
	case !t.works() && slices.ContainsFunc(m.targets, (*target).works):
		return wait{t.Name, m.began.Add(patience)}
	case !t.works():
		return wait{t.Name, m.began.Add(m.timeout)}
	case !t.answeredBy(t.primary):
		return wait{"more answers from " + t.Name, t.first.Add(m.grace())}
	case !t.secondary.IsValid():
		return wait{}
	case t.second.IsZero():
		return wait{fmt.Sprintf("%v, the second address of %s", t.secondary.Addr(), t.Name), t.first.Add(patience)}
	case !t.answeredBy(t.secondary):
		return wait{"more answers from " + t.Name, t.second.Add(m.grace())}
	case !t.letIn:
		return wait{"packets that the NAT may filter", m.began.Add(m.grace())}
	}
	return wait{}
}

// deadline returns when tick wants to be called next.
func (m *machine) deadline(now time.Time) time.Time {
	next := m.began.Add(m.timeout)
	sooner := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	for _, a := range m.asks {
		if at, ok := a.machine.Deadline(); ok && a.active() {
			sooner(at)
		}
	}
	for _, w := range m.waits(now) {
		sooner(w.until)
	}
	sooner(m.hairpin.again)
	if !m.hairpin.begun() {
		sooner(m.quietAt())
	}
	return next
}

// waitsFor describes in a few words what the probe waits for.
func waitsFor(waits []wait) string {
	var what []string
	for _, w := range waits {
		if !slices.Contains(what, w.what) {
			what = append(what, w.what)
		}
	}
	return strings.Join(what, "; ")
}
