package cli

import (
	"bytes"
	"log/slog"
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
