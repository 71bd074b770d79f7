package cli

import (
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/lmittmann/tint"
)

// Logger returns the log of a program, whose level SIGHUP can change. It writes to a file, or to standard error: coloured on a
// terminal, and without time stamps to the systemd journal, which has its own. The latest lines are kept in memory for bug reports.
// Serve returns the error of a file that cannot be written.
func (p *Process) Logger(flags *RunFlags) *slog.Logger {
	p.level.Set(slog.Level(flags.LogLevel))
	to := io.Writer(os.Stderr)
	toJournal, err := journal.StderrIsJournalStream()
	if flags.LogFile != "" {
		var file *logFile
		if file, p.logFault = openLogFile(flags.LogFile); p.logFault == nil {
			to, toJournal = file, false
		}
	}
	_, terminal := terminalRows(to)
	shown := logHandler(to, &p.level, terminal, err == nil && toJournal)
	if flags.LogFormat == "json" {
		shown = slog.NewJSONHandler(to, &slog.HandlerOptions{Level: &p.level, ReplaceAttr: asText})
	}
	kept := slog.NewTextHandler(&p.latest, &slog.HandlerOptions{Level: &p.level})
	return slog.New(slog.NewMultiHandler(shown, kept))
}

func logHandler(w io.Writer, level slog.Leveler, terminal, toJournal bool) slog.Handler {
	if terminal {
		return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: "15:04:05.000", NoColor: !mayColour()})
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

// asText has a JSON log show what a text log does: the text of a value that has one, instead of its number or fields.
func asText(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case json.Marshaler, encoding.TextMarshaler, error, time.Duration:
	case fmt.Stringer:
		a.Value = slog.StringValue(fmt.Sprint(v))
	}
	return a
}

// latestLines keeps the latest lines of a log, of which each Write has one.
type latestLines struct {
	mu    sync.Mutex
	lines []string // without their line feeds
	size  int      // of all of them
	count uint64   // of lines that there have been
}

const (
	mostLogKept   = 256 << 10 // bytes
	longestLogged = 4 << 10   // bytes of a line that are kept
)

// Write keeps a line. It never fails.
func (l *latestLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := strings.TrimSuffix(string(line[:min(len(line), longestLogged)]), "\n")
	l.lines = append(l.lines, kept)
	l.count++
	for l.size += len(kept); l.size > mostLogKept; l.lines = l.lines[1:] {
		l.size -= len(l.lines[0])
	}
	return len(line), nil
}

// all returns the lines, the oldest first.
func (l *latestLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// since returns the lines without the first ones that there have been, of which after says how many, and how many there have been.
func (l *latestLines) since(after uint64) (lines []string, all uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := l.count - uint64(len(l.lines))
	return slices.Clone(l.lines[max(min(after, l.count), gone)-gone:]), l.count
}
