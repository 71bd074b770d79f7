//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

func TestBusyTime(t *testing.T) {
	for _, test := range []struct {
		name, stat string
		want       time.Duration
	}{
		{"all fields", "cpu  1 20 300 4000 50000 600000 7000000 80000000 0 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n", 876_003_21 * 10 * time.Millisecond},
		{"guests are users too", "cpu  100 50 0 7 7 0 0 0 90 40\n", 1500 * time.Millisecond},
		{"before guests", "cpu  1 0 0 7 7 0 0 0\n", 10 * time.Millisecond},
	} {
		if got, err := busyTime(test.stat); err != nil || got != test.want {
			t.Errorf("%s: got %v, %v, want %v", test.name, got, err, test.want)
		}
	}
}

func TestBusyTimeOfSomethingElse(t *testing.T) {
	for _, stat := range []string{
		"",
		"cpu",
		"cpu  1 2 3 4 5 6 7\n",
		"cpu0 1 2 3 4 5 6 7 8 9 10\n",
		"intr 1 2 3 4 5 6 7 8 9 10\n",
		"cpu  1 2 three 4 5 6 7 8 9 10\n",
		"cpu  1 2 3 4 5 6 7 eight 9 10\n",
	} {
		if got, err := busyTime(stat); err == nil {
			t.Errorf("%q: got %v, want an error", strings.TrimSpace(stat), got)
		}
	}
}

func TestIdleTime(t *testing.T) {
	idle, others, err := idleTime("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 9 9 9 9 9 9 9 9 9 9\ncpu1 1 1 1 100 20 1 1 3 1 1\ncpu2 1 1 1 1000 0 1 1 0 1 1\nintr 7 7 7 7 7 7 7 7 7\n")
	if idle != 11230*time.Millisecond || others != 2 || err != nil {
		t.Errorf("%v, %d, %v", idle, others, err)
	}
	for _, stat := range []string{"cpu0 9 9 9 9 9 9 9 9 9 9\n", "cpu1 1 1 1 x 20 1 1 3 1 1\n"} {
		if _, _, err := idleTime(stat); err == nil {
			t.Errorf("%q: no error", stat)
		}
	}
}

// The real file has what is looked for, and time does not go back.
func TestMachineTime(t *testing.T) {
	before, err := machineTime()
	if err != nil {
		t.Fatal(err)
	}
	after, err := machineTime()
	if err != nil || before <= 0 || after < before {
		t.Errorf("got %v and then %v, %v", before, after, err)
	}
}
