package cli

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
)

func TestLogHandler(t *testing.T) {
	tests := map[string]struct {
		terminal, toJournal bool
		want                []string
		not                 []string
	}{
		"file":     {want: []string{"time=", `level=WARN msg="no answer" server=192.0.2.1`}},
		"journal":  {toJournal: true, want: []string{`level=WARN msg="no answer" server=192.0.2.1`}, not: []string{"time="}},
		"terminal": {terminal: true, want: []string{"WRN", "no answer", "\x1b["}, not: []string{"level="}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NO_COLOR", "")
			var out bytes.Buffer
			log := slog.New(logHandler(&out, slog.LevelWarn, test.terminal, test.toJournal))
			log.Info("hidden")
			log.Warn("no answer", "server", "192.0.2.1")
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("log %q; want %q in it", out.String(), want)
				}
			}
			for _, not := range append(test.not, "hidden") {
				if strings.Contains(out.String(), not) {
					t.Errorf("log %q; want no %q in it", out.String(), not)
				}
			}
		})
	}
}

func TestNoColor(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	var out bytes.Buffer
	slog.New(logHandler(&out, slog.LevelInfo, true, false)).Warn("plain")
	if strings.Contains(out.String(), "\x1b[") {
		t.Errorf("log %q; want no colours under NO_COLOR", out.String())
	}
}

// The latest lines are kept, within bounds, whoever writes how much.
func TestLatestLines(t *testing.T) {
	var l latestLines
	log := slog.New(slog.NewTextHandler(&l, nil))
	for range 1000 {
		log.Info(strings.Repeat("x", 2*longestLogged))
	}
	log.Info("short")
	lines := l.all()
	for after, want := range map[uint64]int{0: len(lines), 1: len(lines), 1000: 1, 1001: 0, 2000: 0} { // the first ones are not kept
		if got, all := l.since(after); len(got) != want || all != 1001 {
			t.Errorf("after %d of %d lines: %d lines, want %d", after, all, len(got), want)
		}
	}
	size := 0
	for _, line := range lines {
		size += len(line)
	}
	if n := len(lines); n < mostLogKept/longestLogged || size > mostLogKept || len(lines[0]) != longestLogged || !strings.HasSuffix(lines[n-1], " msg=short") {
		t.Errorf("%d lines, %d bytes, the last %q", n, size, lines[n-1])
	}
}

// What is logged goes to standard error in the form that --log-format names, and is kept for bug reports as text.
func TestLogFormat(t *testing.T) {
	for format, want := range map[LogFormat]string{"text": `level=WARN msg="no answer" from=192.0.2.1:53`, "json": `"level":"WARN","msg":"no answer","from":"192.0.2.1:53"}`} {
		t.Run(string(format), func(t *testing.T) {
			file, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			stderr := os.Stderr
			os.Stderr = file
			defer func() { os.Stderr = stderr }()
			var p Process
			log := p.Logger(&RunFlags{LogLevel: LogLevel(slog.LevelWarn), LogFormat: format})
			log.Info("hidden")
			log.Warn("no answer", "from", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 53})
			shown, err := os.ReadFile(file.Name())
			if err != nil || !strings.Contains(string(shown), want) || strings.Contains(string(shown), "hidden") {
				t.Errorf("%s, %v; want %s in it", shown, err, want)
			}
			if kept := p.latest.all(); len(kept) != 1 || !strings.Contains(kept[0], `level=WARN msg="no answer"`) {
				t.Errorf("kept %q", kept)
			}
		})
	}
}
