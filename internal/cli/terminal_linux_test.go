package cli

import (
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestProgress(t *testing.T) {
	var b strings.Builder
	lines := NewProgress(&b)
	for _, what := range []string{"one", "one", "two"} {
		lines.WaitsFor(what)
	}
	lines.End()
	if got := b.String(); got != "Waiting for one\nWaiting for two\n" {
		t.Errorf("%q", got)
	}
	b.Reset()
	line := Progress{w: &b, terminal: true}
	line.WaitsFor(strings.Repeat("ö", 100))
	line.End()
	if got, want := b.String(), "\r\x1b[KWaiting for "+strings.Repeat("ö", 66)+" …\r\x1b[K"; got != want {
		t.Errorf("%q", got)
	}
}

// A terminal is known by its size, and gets colours unless the user wants none. A file or a device is none.
func TestTerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer terminal.Close()
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 7}); err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, test := range []struct {
		w             io.Writer
		noColor, term string
		rows          int
		colours       bool
	}{
		{terminal, "", "xterm", 7, true}, {terminal, "1", "xterm", 7, false}, {terminal, "", "dumb", 7, false},
		{null, "", "xterm", 0, false}, {new(strings.Builder), "", "xterm", 0, false},
	} {
		t.Setenv("NO_COLOR", test.noColor)
		t.Setenv("TERM", test.term)
		rows, ok := terminalRows(test.w)
		if rows != test.rows || ok != (test.rows > 0) || newPrinter(test.w).colours != test.colours {
			t.Errorf("%+v: %d rows, %v, colours %v", test, rows, ok, newPrinter(test.w).colours)
		}
	}
}
