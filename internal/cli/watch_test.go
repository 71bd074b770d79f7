package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/internal/control"
)

// A picture comes every second, also of a program that is started later or again, with rates from the second one on.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script{time.Now(), []step{
			{2 * time.Second, `{"state": "running", "count": 10}`, nil},
			{3 * time.Second, `{"state": "running", "count": 34}`, nil},
			{5 * time.Second, `{"state": "running", "count": 3}`, nil}, // a new one
			{6 * time.Second, "", errors.New("no permission")},
		}}
		var got []string
		err := watch(t.Context(), s.ask, func(r reading) error {
			if r.answer == nil {
				got = append(got, "absent")
				return nil
			}
			text, err := picture[struct {
				Count uint64 `json:"count"`
			}](printer{}, r)
			got = append(got, text)
			return err
		})
		want := []string{"absent", "absent", "count  10\n", "count  34 (24/s)\n", "count  34\n", "count  3\n"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if err == nil || err.Error() != "no permission" {
			t.Errorf("%v", err)
		}
	})
}

// A signal ends --watch, which is no failure.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithTimeout(t.Context(), 10*redrawAfter+redrawAfter/2)
		defer interrupt()
		n := 0
		err := watch(ctx, (&script{time.Now(), []step{{0, `{}`, nil}}}).ask, func(reading) error { n++; return nil })
		if n != 11 || err != nil {
			t.Errorf("%d pictures, %v", n, err)
		}
	})
}

// What is shown of a program that goes away and comes back, in text and JSON.
func TestWatchedQuery(t *testing.T) {
	for _, test := range []struct {
		json bool
		want string
	}{
		{false, "not running\n\nstate  running\npeers  7\n"},
		{true, "{\"state\":\"running\",\"peers\":7}\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, interrupt := context.WithTimeout(t.Context(), redrawAfter+redrawAfter/2)
			defer interrupt()
			var out strings.Builder
			s := script{time.Now(), []step{{0, "", control.ErrNotRunning}, {redrawAfter, "{\"state\": \"running\",\n\"peers\": 7}", nil}}}
			err := Query{JSON: test.json}.watch(ctx, &out, s.ask, picture[testStatus])
			if out.String() != test.want || err != nil {
				t.Errorf("json %v: %q, %v; want %q", test.json, out.String(), err, test.want)
			}
		})
	}
}

func TestScreen(t *testing.T) {
	var out strings.Builder
	rows := 4
	s := screen{w: &out, rows: func() (int, bool) { return rows, rows > 0 }}
	for _, test := range []struct {
		rows          int
		picture, want string
	}{
		{4, "one\ntwo\n", "\x1b[2J\x1b[?7l\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J\x1b[?7h"},
		{4, "1\n2\n3\n", "\x1b[?7l\x1b[H1\x1b[K\n2\x1b[K\n3\x1b[K\n\x1b[J\x1b[?7h"},
		{4, "1\n2\n3\n4\n5\n", "\x1b[?7l\x1b[H1\x1b[K\n2\x1b[K\n… and 3 more lines\x1b[K\n\x1b[J\x1b[?7h"},
		{0, "no terminal\n", "\nno terminal\n"},
	} {
		out.Reset()
		rows = test.rows
		if err := s.draw(test.picture); err != nil || out.String() != test.want {
			t.Errorf("%q: %q, %v; want %q", test.picture, out.String(), err, test.want)
		}
	}
	out.Reset()
	if err := newScreen(&out).draw("first\n"); err != nil || out.String() != "first\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
