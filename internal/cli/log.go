package cli

import (
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/lmittmann/tint"
)

// Logger returns the log of a program, which SIGHUP can give another level. It writes to standard error: coloured on a
// terminal, and without time stamps to the systemd journal, which has its own.
func (p *Process) Logger(flags *RunFlags) *slog.Logger {
	p.level.Set(slog.Level(flags.LogLevel))
	info, err := os.Stderr.Stat()
	terminal := err == nil && info.Mode().Type()&fs.ModeCharDevice != 0
	toJournal, err := journal.StderrIsJournalStream()
	return slog.New(logHandler(os.Stderr, &p.level, terminal, err == nil && toJournal))
}

func logHandler(w io.Writer, level slog.Leveler, terminal, toJournal bool) slog.Handler {
	if terminal {
		return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: "15:04:05.000", NoColor: os.Getenv("NO_COLOR") != ""})
	}
	options := &slog.HandlerOptions{Level: level}
	if toJournal {
		options.ReplaceAttr = withoutTime
	}
	return slog.NewTextHandler(w, options)
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
