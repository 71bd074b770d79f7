package cli

import (
	"strings"
	"testing"
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
