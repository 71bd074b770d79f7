package cli

import (
	"log/slog"
	"path/filepath"
	"sync/atomic"

	"github.com/teredo-suite/teredo/internal/confine"
)

// Confinement tells by what a program has confined itself. The zero value tells nothing.
type Confinement struct{ told atomic.Pointer[string] }

func (c *Confinement) String() string {
	if s := c.told.Load(); s != nil {
		return *s
	}
	return ""
}

// To confines the program, see RunFlags.ConfineTo.
func (c *Confinement) To(p confine.Policy, f *RunFlags, log *slog.Logger) {
	s := f.ConfineTo(p, log)
	c.told.Store(&s)
}

// ConfineTo has a program that is set up give up what it does not need any more, and returns what its status tells of that.
// The policy is what it needs beside its configuration file, its control socket, its state, its log and its profiles.
func (f *RunFlags) ConfineTo(p confine.Policy, log *slog.Logger) string {
	if !f.Confine {
		log.Warn("not confined: the program keeps all of its privileges", "flag", "no-confine")
		return "no (--no-confine)"
	}
	if f.Config != "" {
		p.Read = append(p.Read, string(f.Config))
	}
	p.Keep = append(p.Keep, filepath.Dir(f.Control), filepath.Dir(f.StateFile("")))
	if f.LogFile != "" {
		p.Keep = append(p.Keep, filepath.Dir(f.LogFile))
	}
	p.Listen = append(p.Listen, f.profilePorts()...)
	result := p.Apply()
	for _, err := range result.Missing {
		log.Warn("confined only in part", "error", err)
	}
	return result.String()
}
