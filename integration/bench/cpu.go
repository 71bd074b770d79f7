package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

// processorTime is the user and system time that a program and its helpers, the processes of its group, have used so far.
// Packets that the kernel forwards for a program while it sends them are on its bill too.
func processorTime(p *lab.Process) (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	const (
		tick = time.Second / 100 // USER_HZ, the same on all of Linux
		// Fields after the command name in parentheses, see proc(5).
		pgrp, utime, stime = 2, 11, 12
	)
	var total time.Duration
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(after)
		if len(fields) <= stime || fields[pgrp] != strconv.Itoa(p.Pid()) {
			continue
		}
		for _, f := range []int{utime, stime} {
			ticks, err := strconv.Atoi(fields[f])
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", file, err)
			}
			total += time.Duration(ticks) * tick
		}
	}
	return total, nil
}
