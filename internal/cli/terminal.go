package cli

import (
	"fmt"
	"io"
	"os"
)

// terminalRows returns how many lines the terminal has that w writes to; ok is false when w is no terminal.
func terminalRows(w io.Writer) (rows int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile {
		return 0, false
	}
	return terminalSize(f)
}

// mayColour reports whether the user lets programs colour what they write to a terminal (https://no-color.org).
func mayColour() bool { return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" }

// Progress tells a person on standard error what a command waits for: in one line that changes on a terminal, otherwise in a
// line each.
type Progress struct {
	w        io.Writer
	terminal bool
	latest   string // what was told last
}

// NewProgress tells w.
func NewProgress(w io.Writer) *Progress {
	_, terminal := terminalRows(w)
	return &Progress{w: w, terminal: terminal}
}

const clearLine = "\r\x1b[K"

// WaitsFor says what the command waits for now.
func (p *Progress) WaitsFor(what string) {
	const most = 66 // runes that leave the line one line
	if what == p.latest {
		return
	}
	p.latest = what
	if runes := []rune(what); p.terminal {
		fmt.Fprintf(p.w, "%sWaiting for %s …", clearLine, string(runes[:min(len(runes), most)]))
		return
	}
	fmt.Fprintf(p.w, "Waiting for %s\n", what)
}

// End makes room for the result.
func (p *Progress) End() {
	if p.terminal {
		fmt.Fprint(p.w, clearLine)
	}
}
