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

// overload withdraws a service that has too much to do (RFC 4380 §7.3.5), with hysteresis.
type overload struct {
	level     time.Duration // of the latest time, how long was overloaded less how long was not; from 0 to patience
	withdrawn Reason        // empty: it is announced
	last      time.Time     // overloaded last
	calm      time.Duration // needed before the next announcement
	announced time.Time     // since then, again
}

// observe takes notice of what was refused in the time before now.
func (o *overload) observe(now time.Time, elapsed time.Duration, before, after Load) {
	cause := refused(elapsed, before, after)
	elapsed = min(elapsed, elapsedMost)
	if cause != "" {
		o.last = now
		o.level = min(o.level+elapsed, patience)
	} else {
		o.level = max(o.level-elapsed, 0)
	}
	switch {
	case o.withdrawn == "" && o.level >= patience:
		if o.calm == 0 || now.Sub(o.announced) >= calmMost {
			o.calm = calmLeast
		} else {
			o.calm = min(2*o.calm, calmMost)
		}
		o.withdrawn = cause
	case o.withdrawn != "" && now.Sub(o.last) >= o.calm:
		o.withdrawn, o.level, o.announced = "", 0, now
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
