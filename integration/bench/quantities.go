//go:build linux

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
	value               // ours itself, at most the target; beside Miredo where that is measured
	share               // ours itself, at least the target
)

// quantities are the rows of the table, in order.
var quantities = []quantity{
	{"tcp up", "TCP, client to native host", "Gbit/s", oursOverMiredo, 10},
	{"tcp down", "TCP, native host to client", "Gbit/s", oursOverMiredo, 10},
	{"tcp direct", "TCP, client to client", "Gbit/s", oursOverMiredo, 10},
	{"tcp eight", "TCP, client to 8 clients at once", "Gbit/s", oursOverMiredo, 8},
	{"plain tcp up", "TCP over plain IPv4 through the same NAT, up", "Gbit/s", none, 0},
	{"of plain tcp up", "share of plain IPv4, TCP up", "", share, 0.9},
	{"plain tcp down", "TCP over plain IPv4 through the same NAT, down", "Gbit/s", none, 0},
	{"of plain tcp down", "share of plain IPv4, TCP down", "", share, 0.9},
	{"udp up 64", "UDP without loss, up, 64 bytes", "packets/s", oursOverMiredo, 2},
	{"plain udp up 64", "UDP without loss over plain IPv4 through the same NAT, up, 64 bytes", "packets/s", none, 0},
	{"of plain udp up 64", "share of plain IPv4, UDP up, 64 bytes", "", share, 0.8},
	{"cost udp up 64", "processor time of a datagram, 20,000 a second, up, 64 bytes", "µs", miredoOverOurs, 2},
	{"plain cost udp up 64", "processor time of a datagram over plain IPv4, 20,000 a second, up, 64 bytes", "µs", none, 0},
	{"udp up 512", "UDP without loss, up, 512 bytes", "packets/s", oursOverMiredo, 2},
	{"plain udp up 512", "UDP without loss over plain IPv4 through the same NAT, up, 512 bytes", "packets/s", none, 0},
	{"of plain udp up 512", "share of plain IPv4, UDP up, 512 bytes", "", share, 0.8},
	{"cost udp up 512", "processor time of a datagram, 20,000 a second, up, 512 bytes", "µs", miredoOverOurs, 2},
	{"plain cost udp up 512", "processor time of a datagram over plain IPv4, 20,000 a second, up, 512 bytes", "µs", none, 0},
	{"udp up 1232", "UDP without loss, up, 1232 bytes", "packets/s", oursOverMiredo, 2},
	{"plain udp up 1232", "UDP without loss over plain IPv4 through the same NAT, up, 1232 bytes", "packets/s", none, 0},
	{"of plain udp up 1232", "share of plain IPv4, UDP up, 1232 bytes", "", share, 0.8},
	{"cost udp up 1232", "processor time of a datagram, 20,000 a second, up, 1232 bytes", "µs", miredoOverOurs, 2},
	{"plain cost udp up 1232", "processor time of a datagram over plain IPv4, 20,000 a second, up, 1232 bytes", "µs", none, 0},
	{"udp down 64", "UDP without loss, down, 64 bytes", "packets/s", oursOverMiredo, 2},
	{"plain udp down 64", "UDP without loss over plain IPv4 through the same NAT, down, 64 bytes", "packets/s", none, 0},
	{"of plain udp down 64", "share of plain IPv4, UDP down, 64 bytes", "", share, 0.8},
	{"cost udp down 64", "processor time of a datagram, 20,000 a second, down, 64 bytes", "µs", miredoOverOurs, 2},
	{"plain cost udp down 64", "processor time of a datagram over plain IPv4, 20,000 a second, down, 64 bytes", "µs", none, 0},
	{"udp down 512", "UDP without loss, down, 512 bytes", "packets/s", oursOverMiredo, 2},
	{"plain udp down 512", "UDP without loss over plain IPv4 through the same NAT, down, 512 bytes", "packets/s", none, 0},
	{"of plain udp down 512", "share of plain IPv4, UDP down, 512 bytes", "", share, 0.8},
	{"cost udp down 512", "processor time of a datagram, 20,000 a second, down, 512 bytes", "µs", miredoOverOurs, 2},
	{"plain cost udp down 512", "processor time of a datagram over plain IPv4, 20,000 a second, down, 512 bytes", "µs", none, 0},
	{"udp down 1232", "UDP without loss, down, 1232 bytes", "packets/s", oursOverMiredo, 2},
	{"plain udp down 1232", "UDP without loss over plain IPv4 through the same NAT, down, 1232 bytes", "packets/s", none, 0},
	{"of plain udp down 1232", "share of plain IPv4, UDP down, 1232 bytes", "", share, 0.8},
	{"cost udp down 1232", "processor time of a datagram, 20,000 a second, down, 1232 bytes", "µs", miredoOverOurs, 2},
	{"plain cost udp down 1232", "processor time of a datagram over plain IPv4, 20,000 a second, down, 1232 bytes", "µs", none, 0},
	{"untranslated tcp up", "TCP up, untranslated", "Gbit/s", none, 0},
	{"translated tcp up", "TCP up, translated (Miredo: masqueraded)", "Gbit/s", oursOverMiredo, 10},
	{"share tcp up", "share of the untranslated rate that is left, TCP up", "", share, 0.9},
	{"untranslated tcp down", "TCP down, untranslated", "Gbit/s", none, 0},
	{"translated tcp down", "TCP down, translated (Miredo: masqueraded)", "Gbit/s", oursOverMiredo, 10},
	{"share tcp down", "share of the untranslated rate that is left, TCP down", "", share, 0.9},
	{"untranslated udp up", "UDP without loss, up, 64 bytes, untranslated", "packets/s", none, 0},
	{"translated udp up", "UDP without loss, up, 64 bytes, translated (Miredo: masqueraded)", "packets/s", oursOverMiredo, 2},
	{"share udp up", "share of the untranslated rate that is left, UDP without loss, up, 64 bytes", "", share, 0.9},
	{"untranslated udp down", "UDP without loss, down, 64 bytes, untranslated", "packets/s", none, 0},
	{"translated udp down", "UDP without loss, down, 64 bytes, translated (Miredo: masqueraded)", "packets/s", oursOverMiredo, 2},
	{"share udp down", "share of the untranslated rate that is left, UDP without loss, down, 64 bytes", "", share, 0.9},
	{"proxy tcp up", "TCP up, through --forward of a proxy without privileges (Miredo: its interface)", "Gbit/s", oursOverMiredo, 2},
	{"proxy tcp down", "TCP down, through --forward of a proxy without privileges (Miredo: its interface)", "Gbit/s", oursOverMiredo, 2},
	{"proxy connections", "new connections to a native host over SOCKS", "per second", share, 2000},
	{"proxy first byte", "added to the delay of a connection's first byte by SOCKS, over a client with an interface, median", "ms", value, 1},
	{"proxy memory", "memory of an idle proxy", "MiB", value, 40},
	{"proxy memory each", "memory of a proxy for each of 1,000 idle connections over SOCKS", "KiB", value, 32},
	{"cpu client up", "processor time of the client, TCP up", "s/GB", miredoOverOurs, 8},
	{"cpu client down", "processor time of the client, TCP down", "s/GB", miredoOverOurs, 8},
	{"cpu relay up", "processor time of the relay, TCP up", "s/GB", miredoOverOurs, 8},
	{"cpu relay down", "processor time of the relay, TCP down", "s/GB", miredoOverOurs, 8},
	{"machine up", "processor time of the whole machine, TCP up", "s/GB", miredoOverOurs, 8},
	{"machine down", "processor time of the whole machine, TCP down", "s/GB", miredoOverOurs, 8},
	{"plain machine up", "processor time of the whole machine, TCP over plain IPv4, up", "s/GB", none, 0},
	{"plain machine down", "processor time of the whole machine, TCP over plain IPv4, down", "s/GB", none, 0},
	{"rtt plain", "round trip over plain IPv4, median", "µs", none, 0},
	{"rtt median", "added to the round trip, median", "µs", oursAtMost, 1},
	{"rtt p99", "added to the round trip, 99th percentile", "µs", oursAtMost, 1},
	{"one cpu", "router advertisements to one client, per processor second", "", oursOverMiredo, 5},
	{"one rate", "router advertisements to one client, per second", "", none, 0},
	{"many cpu", "router advertisements to many clients, per processor second", "", oursOverMiredo, 5},
	{"many rate", "router advertisements to many clients, per second", "", none, 0},
	{"one secret cpu", "router advertisements to one client with a secret (Miredo: without), per processor second", "", oursOverMiredo, 1.2},
	{"many secret cpu", "router advertisements to many clients with a secret (Miredo: without), per processor second", "", oursOverMiredo, 1.2},
	{"bubbles cpu", "bubbles forwarded among many clients, per processor second", "", oursOverMiredo, 5},
	{"bubbles rate", "bubbles forwarded among many clients, per second", "", none, 0},
	{"start one", "first ping after a client's start, server of one address", "s", miredoOverOurs, 1},
	{"start two", "first ping after a client's start, server of two addresses", "s", miredoOverOurs, 1},
	{"server live 20", "share of pings answered while the server is down for 20 s", "", none, 0},
	{"server return 20", "first ping to a new host, server back after 20 s", "s", value, 5},
	{"server live 60", "share of pings answered while the server is down for 60 s", "", none, 0},
	{"server return 60", "first ping to a new host, server back after 60 s", "s", value, 5},
	{"relay return", "next ping after a killed relay's start", "s", value, 1},
	{"client goes on", "share of TCP connections that outlive a client's kill and start", "", none, 0},
	{"client return", "next byte of such a connection after the client's start", "s", miredoOverOurs, 1},
	{"crowd few", "packets that a relay forwards, one to each of its 10 peers in turn", "packets/s", none, 0},
	{"crowd many", "packets that a relay forwards, one to each of its CROWD peers in turn", "packets/s", overFew, 0},
	{"crowd cpu few", "packets that a relay forwards, one to each of its 10 peers in turn, per second of its processor time", "", none, 0},
	{"crowd cpu many", "packets that a relay forwards, one to each of its CROWD peers in turn, per second of its processor time", "", none, 0},
	{"control few", "packets that a forwarder without a table sends on, one to each of 10 endpoints in turn", "packets/s", none, 0},
	{"control many", "packets that a forwarder without a table sends on, one to each of CROWD endpoints in turn", "packets/s", overFew, 0},
	{"control cpu few", "packets that a forwarder without a table sends on, one to each of 10 endpoints in turn, per second of its processor time", "", none, 0},
	{"control cpu many", "packets that a forwarder without a table sends on, one to each of CROWD endpoints in turn, per second of its processor time", "", none, 0},
	{"crowd control", "share of packets that the relay keeps with CROWD peers, over the share that the forwarder keeps", "", share, 0.9},
	{"crowd control cpu", "the same share, of packets per second of processor time", "", none, 0},
	{"crowd tcp few", "TCP, native host to one client, while the relay has 10 more live peers (heard of within 20 s)", "Gbit/s", none, 0},
	{"crowd tcp many", "TCP, native host to one client, while the relay has CROWD more live peers (heard of within 20 s)", "Gbit/s", overFew, 0.9},
	{"crowd found", "new clients that a relay with up to CROWD peers finds, with two packets each way, per second of its processor time", "", none, 0},
	{"crowd start", "first ping of a client that starts while the relay has CROWD peers", "s", value, 1},
	{"newcomers first", "share of new clients that answer a first packet while the relay has CROWD peers", "", share, 0.99},
	{"newcomers scanned first", "share of new clients that answer a first packet, while one host sends 10,000 packets a second to absent clients of their server", "", none, 0},
	{"newcomers scanned", "share of new clients that answer one of four packets, sent at the times of TCP's SYN, while one host sends as many to absent clients", "", share, 0.99},
	{"crowd memory", "memory of a relay for each of CROWD peers", "bytes", value, 400},
}

// aim is the target in words, empty when there is none.
func (q quantity) aim() string {
	switch {
	case q.target == 0:
		return ""
	case q.goal == value:
		return fmt.Sprintf("≤ %g %s", q.target, q.unit)
	case q.goal == oursAtMost:
		return fmt.Sprintf("≤ %g", q.target)
	default:
		return fmt.Sprintf("≥ %g", q.target)
	}
}

// verdict says whether a target is met.
type verdict string

const (
	met    verdict = "met"
	missed verdict = "missed"
)

// judge compares a ratio, or ours itself, with the target. The verdict is empty when there is nothing to compare.
func (q quantity) judge(ratio, own float64) verdict {
	holds := ratio >= q.target
	switch {
	case q.target == 0 || ratio == 0 && q.goal != value && q.goal != share:
		return ""
	case q.goal == share:
		holds = own >= q.target
	case q.goal == value:
		holds = own <= q.target
	case q.goal == oursAtMost:
		holds = ratio <= q.target
	}
	if holds {
		return met
	}
	return missed
}
