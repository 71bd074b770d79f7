package main

import "fmt"

// quantity is something that is measured.
type quantity struct {
	key, name, unit string
	goal            goal
	target          float64
}

// goal says what a target is about.
type goal uint8

const (
	none           goal = iota
	oursOverMiredo      // at least the target
	miredoOverOurs      // at least the target
	oursAtMost          // ours over Miredo, at most the target
	overFew             // over the same with few peers, at least the target
	value               // ours itself, at most the target
)

// quantities are the rows of the table, in order.
var quantities = []quantity{
	{"tcp up", "TCP, client to native host", "Gbit/s", oursOverMiredo, 10},
	{"tcp down", "TCP, native host to client", "Gbit/s", oursOverMiredo, 10},
	{"tcp direct", "TCP, client to client", "Gbit/s", oursOverMiredo, 10},
	{"tcp eight", "TCP, client to 8 clients at once", "Gbit/s", oursOverMiredo, 8},
	{"udp up 64", "UDP without loss, up, 64 bytes", "packets/s", oursOverMiredo, 2},
	{"udp up 512", "UDP without loss, up, 512 bytes", "packets/s", oursOverMiredo, 2},
	{"udp up 1232", "UDP without loss, up, 1232 bytes", "packets/s", oursOverMiredo, 2},
	{"udp down 64", "UDP without loss, down, 64 bytes", "packets/s", oursOverMiredo, 2},
	{"udp down 512", "UDP without loss, down, 512 bytes", "packets/s", oursOverMiredo, 2},
	{"udp down 1232", "UDP without loss, down, 1232 bytes", "packets/s", oursOverMiredo, 2},
	{"cpu client up", "processor time of the client, TCP up", "s/GB", miredoOverOurs, 8},
	{"cpu client down", "processor time of the client, TCP down", "s/GB", miredoOverOurs, 8},
	{"cpu relay up", "processor time of the relay, TCP up", "s/GB", miredoOverOurs, 8},
	{"cpu relay down", "processor time of the relay, TCP down", "s/GB", miredoOverOurs, 8},
	{"rtt plain", "round trip over plain IPv4, median", "µs", none, 0},
	{"rtt median", "added to the round trip, median", "µs", oursAtMost, 1},
	{"rtt p99", "added to the round trip, 99th percentile", "µs", oursAtMost, 1},
	{"one cpu", "router advertisements to one client, per processor second", "", oursOverMiredo, 2},
	{"one rate", "router advertisements to one client, per second", "", none, 0},
	{"many cpu", "router advertisements to many clients, per processor second", "", oursOverMiredo, 2},
	{"many rate", "router advertisements to many clients, per second", "", none, 0},
	{"crowd few", "packets that a relay with 10 peers forwards", "packets/s", none, 0},
	{"crowd many", "packets that a relay with CROWD peers forwards", "packets/s", overFew, 0.9},
	{"control few", "packets that a forwarder without a table sends on to 10 endpoints", "packets/s", none, 0},
	{"control many", "packets that a forwarder without a table sends on to CROWD endpoints", "packets/s", overFew, 0},
	{"crowd control", "share that the relay keeps with CROWD peers, over the share that the forwarder keeps", "", none, 0},
	{"crowd memory", "memory of a relay for each of CROWD peers", "bytes", value, 400},
}

// judge returns the target in words, and whether it is met. There may be none.
func (q quantity) judge(ratio, own float64) (target string, met bool) {
	if q.target == 0 {
		return "", false
	}
	switch q.goal {
	case oursAtMost:
		return fmt.Sprintf("≤ %g", q.target), ratio <= q.target
	case value:
		return fmt.Sprintf("≤ %g %s", q.target, q.unit), own <= q.target
	default:
		return fmt.Sprintf("≥ %g", q.target), ratio >= q.target
	}
}
