//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// plan says how thoroughly to measure.
type plan struct {
	rounds   int             // turns of each implementation
	transfer time.Duration   // of one TCP measurement
	trial    time.Duration   // of one packet rate
	step     float64         // the search for a packet rate ends when its bounds are closer than this factor
	pings    int             // in each round, along each way
	sizes    []int           // of the UDP payloads of packet rates
	flood    time.Duration   // of router solicitations
	outages  []time.Duration // of the server
	crowd    int             // most peers of the relay
	attempts int             // measurements of each throughput of a relay with many peers
}

// largest is the UDP payload that fills the MTU of 1280 bytes.
const largest = 1232

var (
	full = plan{
		rounds: 5, transfer: 5 * time.Second, trial: 500 * time.Millisecond, step: 1.05,
		pings: 3000, sizes: []int{64, 512, largest}, flood: 4 * time.Second,
		outages: []time.Duration{20 * time.Second, time.Minute}, crowd: 1_000_000, attempts: 7,
	}
	short = plan{
		rounds: 1, transfer: time.Second, trial: 120 * time.Millisecond, step: 1.3,
		pings: 500, sizes: []int{64, 512, largest}, flood: time.Second,
		outages: []time.Duration{20 * time.Second}, crowd: 100_000, attempts: 3,
	}
)

// implementation is whose programs are measured, and in which way they run.
type implementation string

const (
	ours    implementation = "ours"
	workers implementation = "ours, --kernel-path=off" // the programs carry all packets themselves
	miredo  implementation = "Miredo"
)

// implementations are all, in the order in which they take turns.
var implementations = []implementation{ours, workers, miredo}

// bench is one run.
type bench struct {
	bin  string
	only string // the groups to measure, separated by commas; empty: all of them
	plan
	*results
}

// check says what is missing.
func (b *bench) check() error {
	if _, err := os.Stat(filepath.Join(b.bin, "teredo-client")); err != nil {
		return errors.New("the programs are not beside the bench: run make bench")
	}
	for _, tool := range []string{"iperf3", "miredo", "miredo-server"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: run make deps as root", tool)
		}
	}
	return nil
}

// measure fills the results.
func (b *bench) measure() error {
	if err := b.roundTrips(); err != nil {
		return fmt.Errorf("measure round-trip times: %w", err)
	}
	if err := b.translated(); err != nil {
		return fmt.Errorf("measure translated traffic: %w", err)
	}
	if err := b.proxies(); err != nil {
		return fmt.Errorf("measure the proxy: %w", err)
	}
	for round := range b.rounds {
		for _, who := range implementations {
			progress("round %d of %d: %s", round+1, b.rounds, who)
			if err := errors.Join(b.path(who), b.server(who)); err != nil {
				return fmt.Errorf("measure %s: %w", who, err)
			}
		}
	}
	if err := b.recovery(); err != nil {
		return fmt.Errorf("measure starts and returns: %w", err)
	}
	return b.million()
}

// wants reports whether a group of quantities is to be measured.
func (b *bench) wants(group string) bool {
	return b.only == "" || slices.Contains(strings.Split(b.only, ","), group)
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
