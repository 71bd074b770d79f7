//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
)

// clock tells how much processor time something has used so far.
type clock func() (time.Duration, error)

// clockOf is the clock of a program.
func clockOf(p *lab.Process) clock {
	return func() (time.Duration, error) { return processorTime(p) }
}

// processorTime is the user and system time that a program and its helpers, the processes of its group, have used so far.
// Packets that the kernel forwards for a program while it sends them are on its bill too.
func processorTime(p *lab.Process) (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	// Fields after the command name in parentheses, see proc(5).
	const pgrp, utime, stime = 2, 11, 12
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
		used, err := ticks(fields[utime], fields[stime])
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", file, err)
		}
		total += used
	}
	return total, nil
}

// threadTime is the processor time that this thread has used so far.
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano()), err
}

// machineTime is the time that the processors have been busy so far, with whatever it was. What the kernel does with packets
// in a soft interrupt is in it, also when no program pays for that.
func machineTime() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	busy, err := busyTime(string(stat))
	if err != nil {
		return 0, fmt.Errorf("read /proc/stat: %w", err)
	}
	return busy, nil
}

// busyTime is all time in the first line of /proc/stat, that of all processors, but idle and iowait.
func busyTime(stat string) (time.Duration, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	// See proc(5). The two fields after steal, about guests, are part of user and nice already.
	const label, user, idle, iowait, steal = 0, 1, 4, 5, 8
	if len(fields) <= steal || fields[label] != "cpu" {
		return 0, fmt.Errorf("its first line is not the time of all processors: %q", line)
	}
	all, err := ticks(fields[user : steal+1]...)
	if err != nil {
		return 0, err
	}
	unused, err := ticks(fields[idle], fields[iowait])
	return all - unused, err
}

// otherTime is the time that all processors but the first have been busy so far, with whatever it was: the time that has passed less
// the time that they were idle, which the kernel knows exactly.
func otherTime() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, err
	}
	idle, others, err := idleTime(string(stat))
	if err != nil {
		return 0, fmt.Errorf("read /proc/stat: %w", err)
	}
	return time.Duration(now.Nano())*time.Duration(others) - idle, nil
}

// idleTime is the time that all processors but the first have had nothing to do, or could do nothing, and how many these are.
func idleTime(stat string) (idle time.Duration, others int, err error) {
	const label, idleAt, iowait, steal = 0, 4, 5, 8
	for line := range strings.Lines(stat) {
		fields := strings.Fields(line)
		if len(fields) <= steal || !strings.HasPrefix(fields[label], "cpu") || fields[label] == "cpu" || fields[label] == "cpu0" {
			continue
		}
		t, err := ticks(fields[idleAt], fields[iowait], fields[steal])
		if err != nil {
			return 0, 0, err
		}
		idle += t
		others++
	}
	if others == 0 {
		return 0, 0, errors.New("this needs two processors")
	}
	return idle, others, nil
}

// ticks adds up times as /proc has them.
func ticks(fields ...string) (total time.Duration, err error) {
	const tick = time.Second / 100 // USER_HZ, the same on all of Linux
	for _, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n) * tick
	}
	return total, nil
}
