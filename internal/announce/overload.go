package announce

import "time"

const (
	// patience is how long an overload must last before the service is withdrawn.
	patience = 10 * time.Second
	// calmLeast and calmMost bound how long there must be no overload before the service is announced again. The time doubles with each
	// overload that follows an announcement within calmMost. So routers that damp routes which come and go (RFC 7196) do not damp
	// these.
	calmLeast = time.Minute
	calmMost  = 16 * time.Minute
	// elapsedMost bounds what one observation counts, after a time without any.
	elapsedMost = 2 * time.Second
)

// How much a service refuses in a second that counts as overloaded. Most budgets and queues refuse something now and then.
const (
	budgetsRefused   = 100 // a tenth of what the budget allows
	peersDisplaced   = 10
	processorRefused = 100
)

// Overload withdraws a service that has too much to do (RFC 4380 §7.3.5), with hysteresis. A process tells it to the one that takes
// its place.
type Overload struct {
	Level     time.Duration // of the latest time, how long was overloaded less how long was not; from 0 to patience
	Withdrawn Reason        // empty: it is announced
	Last      time.Time     // overloaded last
	Calm      time.Duration // needed before the next announcement
	Announced time.Time     // since then, again
}

// observe takes notice of what was refused in the time before now.
func (o *Overload) observe(now time.Time, elapsed time.Duration, before, after Load) {
	cause := refused(elapsed, before, after)
	elapsed = min(elapsed, elapsedMost)
	if cause != "" {
		o.Last = now
		o.Level = min(o.Level+elapsed, patience)
	} else {
		o.Level = max(o.Level-elapsed, 0)
	}
	switch {
	case o.Withdrawn == "" && o.Level >= patience:
		if o.Calm == 0 || now.Sub(o.Announced) >= calmMost {
			o.Calm = calmLeast
		} else {
			o.Calm = min(2*o.Calm, calmMost)
		}
		o.Withdrawn = cause
	case o.Withdrawn != "" && now.Sub(o.Last) >= o.Calm:
		o.Withdrawn, o.Level, o.Announced = "", 0, now
	}
}

// refused says what made a time an overloaded one; empty: it was not.
func refused(elapsed time.Duration, before, after Load) Reason {
	tooMuch := func(before, after uint64, most float64) bool {
		return float64(after-before) >= most*elapsed.Seconds()
	}
	switch {
	case tooMuch(before.Budgets, after.Budgets, budgetsRefused):
		return Budgets
	case tooMuch(before.Peers, after.Peers, peersDisplaced):
		return Peers
	case tooMuch(before.Processor, after.Processor, processorRefused):
		return Processor
	}
	return ""
}
