package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	noticeDays = 30 // the last days, on each of which the log tells of the sunset
	// sunsetCheck bounds the sleep until sunset, as timers stand still while the host sleeps and do not heed a clock
	// that is set.
	sunsetCheck = time.Hour
)

// SunsetFlags is the flag of the programs that serve others. Embed it.
type SunsetFlags struct {
	Sunset Sunset `placeholder:"DATE" help:"Date, or date and time (RFC 3339, UTC), at which service ends. The program announces it, stops then, and refuses to start later."`
}

// Sunset is a flag that holds the time at which a program ceases to serve for good (RFC 4380 §5.5). The zero value
// (IsZero) means that it was not given.
type Sunset struct{ time.Time }

// UnmarshalText parses a date, which stands for its first moment in UTC, or a date with a time, both as in RFC 3339.
func (s *Sunset) UnmarshalText(text []byte) error {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, string(text)); err == nil {
			s.Time = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("%q is no date such as 2030-12-31, nor a date and time such as 2030-12-31T12:00:00Z", text)
}

// String has the form of RFC 3339.
func (s Sunset) String() string { return s.Format(time.RFC3339) }

// Context returns a context that ends with ctx or at sunset, whichever is earlier. The log tells of the sunset at once,
// on each of the last days, and when it has come (SUN-03, SUN-04). After sunset Context returns a usage error.
func (s Sunset) Context(ctx context.Context, log *slog.Logger) (context.Context, error) {
	return s.context(ctx, log, time.Now)
}

func (s Sunset) context(ctx context.Context, log *slog.Logger, now func() time.Time) (context.Context, error) {
	if s.IsZero() {
		return ctx, nil
	}
	if s.left(now) <= 0 {
		return nil, Usage(fmt.Errorf("service has ended at sunset, %v: to serve again, change --sunset or leave it out", s))
	}
	ctx, end := context.WithCancelCause(ctx)
	go func() {
		defer end(errors.New("sunset"))
		if s.await(ctx, log, now) {
			log.Warn("service ends now, as announced", "sunset", s)
			stopping()
		}
	}()
	return ctx, nil
}

// await waits for sunset. It reports whether sunset came before the end of ctx.
func (s Sunset) await(ctx context.Context, log *slog.Logger, now func() time.Time) bool {
	announced := 0 // days
	for left := s.left(now); left > 0; left = s.left(now) {
		const day = 24 * time.Hour
		days := int((left + day - 1) / day) // begun ones count
		switch {
		case days <= noticeDays && days != announced:
			log.Warn("service ends soon", "sunset", s, "days", days)
		case announced == 0:
			log.Info("service ends at sunset", "sunset", s, "days", days)
		}
		announced = days
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(left, sunsetCheck)):
		}
	}
	return true
}

// left is the time until sunset by the wall clock.
func (s Sunset) left(now func() time.Time) time.Duration { return s.Sub(now().Round(0)) }
