package cli

import (
	"context"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/alecthomas/kong"
)

// Process is what a run command gets to know of its process: a log, and what SIGHUP asks for. Kong hands it to Run.
type Process struct {
	hint         func(error) string // what to do about an error with the flags; empty: nothing
	hangups      <-chan os.Signal
	args         []string                                   // the command line, without the program's name
	command      *kong.Context                              // as it runs
	parse        func() (*kong.Context, error)              // reads the command line and the configuration file again
	understand   func(args []string) (*kong.Context, error) // reads another command line
	level        slog.LevelVar                              // of the log
	logFault     error                                      // why the log file cannot be written
	latest       latestLines                                // of the log
	flags        atomic.Pointer[map[string]string]          // of the run command with their values, for bug reports
	userControl  string
	controlToAsk func() string // the control socket of the program to ask now
	heir         *heir         // nil: this process replaces none
	upgrading    sync.Mutex    // held while another process replaces this one
	processors   int
}

// Processors is how many processors the program may use: GOMAXPROCS of the environment, or else what the affinity mask of the process
// and the quota of its control group allow. Program.Main finds it out; without it, it is 0.
func (p *Process) Processors() int { return p.processors }

// name is the program's name as typed.
func (p *Process) name() string { return p.command.Model.Name }

// Reload is what a program reads again at SIGHUP, besides the flags that all of them have.
type Reload struct {
	Flags []string // names of those whose new value takes effect
	// Take has the program use the new values, and reads again the files that flags name. It reports whether there are any. It may be nil.
	Take func(ctx context.Context) (files bool)
}

// follow reads the configuration again at each SIGHUP until ctx ends.
func (p *Process) follow(ctx context.Context, flags *RunFlags, log *slog.Logger, reload Reload) {
	takes := append([]string{"log-level"}, reload.Flags...)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.hangups:
		}
		something := flags.Config != ""
		if something {
			p.readAgain(flags, log, takes)
		}
		if reload.Take != nil && reload.Take(ctx) {
			something = true
		}
		if !something {
			log.Info("SIGHUP: nothing to read again, because no flag names a file")
		}
	}
}

// readAgain takes the new values of flags that can take one, and names the others that have changed.
func (p *Process) readAgain(flags *RunFlags, log *slog.Logger, takes []string) {
	read, err := p.parse()
	if err != nil {
		log.Error("SIGHUP: the configuration has an error; the values in use stay", "error", err)
		return
	}
	log.Info("SIGHUP: configuration read again", "file", flags.Config)
	now := read.Selected().Flags
	for i, flag := range p.command.Selected().Flags {
		switch {
		case reflect.DeepEqual(flag.Target.Interface(), now[i].Target.Interface()):
		case slices.Contains(takes, flag.Name):
			flag.Target.Set(now[i].Target)
			log.Info("the configuration has a new value", "flag", flag.Name)
		default:
			log.Warn("the configuration has a new value that cannot take effect while running: restart to apply", "flag", flag.Name)
		}
	}
	p.level.Set(slog.Level(flags.LogLevel))
	p.noteFlags()
}
