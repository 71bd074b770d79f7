//go:build linux

// Package lab lays out a small internet of network namespaces on this machine: a Teredo server, a relay, a native IPv6
// host and two clients behind NATs, with the real kernel's TUN devices, routing and connection tracking.
//
//	                  inet (router)
//	   ┌──────────┬──────┴─┬───────────┬───────────┐
//	server      relay    native      nat1        nat2
//	192.0.2.1   198.51.  2001:db8:   203.0.      203.0.
//	192.0.2.2   100.1    6::1        113.1       113.129
//	                                   │           │
//	                                client1     client2
//	                                192.168.1.2 192.168.2.2
//
// Server, relay and native host have IPv6; the router sends 2001::/32 to the relay. The clients have IPv4 only.
// A program uses Isolate first, which is also what removes everything in the end.
package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// namespaceFolder is where the ip command keeps the names of network namespaces.
const namespaceFolder = "/var/run/netns"

// Lab is one internet. Several can exist at once.
type Lab struct {
	folder string
	hosts  map[string]*Host

	mu        sync.Mutex
	processes []*Process
}

// New lays out the internet of the drawing above, whose clients are behind NATs of the given kinds.
func New(nat1, nat2 NAT) (*Lab, error) {
	y := drawing
	y.NATs = []Translator{{"nat1", nat1, "192.168.1.2"}, {"nat2", nat2, "192.168.2.2"}}
	return LayOut(y)
}

// LayOut lays out an internet.
func LayOut(y Layout) (*Lab, error) {
	if !Isolated() {
		return nil, errors.New("a lab needs a program that lab.Isolate started")
	}
	folder, err := os.MkdirTemp("/run", "lab")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the lab: %w", err)
	}
	l := &Lab{folder: folder, hosts: make(map[string]*Host)}
	if err := l.build(y); err != nil {
		return nil, errors.Join(fmt.Errorf("lay out the lab: %w", err), l.Close())
	}
	return l, nil
}

// Host returns the host with a name.
func (l *Lab) Host(name string) *Host {
	h, ok := l.hosts[name]
	if !ok {
		panic("lab: no such host: " + name)
	}
	return h
}

// Folder is a folder of this lab for sockets, configurations and captures. Close removes it.
func (l *Lab) Folder() string { return l.folder }

// Processes returns the programs started so far, running or not, in the order of their start.
func (l *Lab) Processes() []*Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*Process(nil), l.processes...)
}

// Close kills all programs of the lab and removes its namespaces and files.
func (l *Lab) Close() error {
	for _, p := range l.Processes() {
		p.Kill()
	}
	var errs []error
	for _, h := range l.hosts {
		errs = append(errs, h.ns.Close(), ip("", "netns", "delete", l.namespace(h.Name)))
	}
	return errors.Join(append(errs, os.RemoveAll(l.folder))...)
}

// namespace is the name that the ip command has for a host's namespace.
func (l *Lab) namespace(host string) string { return filepath.Base(l.folder) + "-" + host }

// Until calls check until it returns nil, with growing pauses, for as long as timeout.
// The error says what was waited for and why it was not so at the end.
func Until(timeout time.Duration, what string, check func() error) error {
	return until(nil, timeout, what, check)
}

// until is Until, and gives up early when ended is closed.
func until(ended <-chan struct{}, timeout time.Duration, what string, check func() error) error {
	began := time.Now()
	late := time.After(timeout)
	pause := 10 * time.Millisecond
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
		case <-late:
		case <-time.After(pause):
			pause = min(2*pause, 500*time.Millisecond)
			continue
		}
		return fmt.Errorf("waited %v for %s: %w", time.Since(began).Round(time.Millisecond), what, err)
	}
}
