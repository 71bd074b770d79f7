//go:build linux

// Command bench measures the suite and Miredo side by side, in the same small internet of network namespaces on this
// machine: throughput, packet rates, processor time, round-trip times, translated traffic, a proxy, starts and returns, and a relay with a million peers.
//
// Each implementation runs with the settings it has by itself; ours once more without the kernel path.
// They take turns, several times; for round-trip times, packet by packet. The table shows medians, the least and the
// greatest value, and the ratios of the medians.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/teredo-suite/teredo/integration/lab"
)

func main() {
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = 1
	}
	os.Exit(code)
}

func run() (int, error) {
	quick := flag.Bool("quick", false, "take less than four minutes; the figures are rough")
	only := flag.String("only", "", "measure these groups, separated by commas: rtt, native, proxy, tcp, udp, server, recovery, crowd; earlier results of the others stay")
	out := flag.String("out", "docs/bench", "folder for results.json and results.svg")
	flag.Parse()
	if !lab.Isolated() {
		if os.Geteuid() != 0 {
			return 0, errors.New("run as root, whose rights Miredo gives up to another user")
		}
		return lab.Isolate()
	}
	if err := lab.Enter(); err != nil {
		return 0, err
	}
	// Sockets are waited for in system calls. With more room than threads that do so, none of them has to wait for the
	// runtime as well when a packet has come.
	runtime.GOMAXPROCS(16)
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	p := full
	if *quick {
		p = short
	}
	b := &bench{bin: filepath.Dir(self), only: *only, plan: p, results: newResults(p, *quick)}
	if err := b.check(); err != nil {
		return 0, err
	}
	if *only != "" {
		if err := b.keep(*out); err != nil {
			return 0, fmt.Errorf("read the earlier results: %w", err)
		}
	}
	if err := b.measure(); err != nil {
		return 0, err
	}
	if err := b.results.print(os.Stdout); err != nil {
		return 0, err
	}
	return 0, b.results.write(*out)
}
