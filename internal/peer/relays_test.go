package peer_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var relay3 = netip.MustParseAddrPort("198.51.100.9:3545")

// A route that changes moves the path by one test. Packets from the relay before are accepted without another one, and those to the
// host leave by the path that was tested last (C-DCT-06).
func TestRelayBefore(t *testing.T) {
	r := heardOf(t)
	r.want(r.receive(relay2, data(host, own, 1)), "test own>host to server")
	r.want(r.send(data(own, host, 2)), "data 2 own>host to relay1")
	r.want(r.receive(relay2, r.reply()), "deliver data 1 host>own")
	for n := range uint32(10) {
		r.want(r.receive(relay1, data(host, own, 10+n)), fmt.Sprintf("deliver data %d host>own", 10+n))
		r.want(r.receive(relay2, data(host, own, 20+n)), fmt.Sprintf("deliver data %d host>own", 20+n))
		r.want(r.send(data(own, host, 30+n)), fmt.Sprintf("data %d own>host to relay2", 30+n))
		r.wait(time.Second)
	}
	// What comes from there does not show that the path works.
	r.receive(relay2, data(host, own, 40))
	for n := range uint32(5) {
		r.want(r.send(data(own, host, 40+n)), fmt.Sprintf("data %d own>host to relay2", 40+n))
		r.wait(100 * time.Millisecond)
		r.want(r.receive(relay1, data(host, own, 50+n)), fmt.Sprintf("deliver data %d host>own", 50+n))
	}
	r.want(r.send(data(own, host, 45)), "data 45 own>host to relay2", "test own>host to server")
	r.want(r.receive(relay1, r.reply()), "data 45 own>host to relay1")
}

// A relay that the path has never led to is not believed, nor one that it led to before the path became invalid.
func TestNotRelayBefore(t *testing.T) {
	r := heardOf(t)
	r.receive(relay2, data(host, own, 1))
	r.receive(relay2, r.reply())
	r.want(r.receive(relay3, data(host, own, 2)), "test own>host to server")
	r.want(r.wait(10*time.Second), "2s test own>host to server", "4s test own>host to server", "6s test own>host to server", "8s drop 1 untested")
	r.wait(21 * time.Second)
	r.want(r.receive(relay1, data(host, own, 3)), "test own>host to server")
}

// A router may send the answers to tests by one relay, and other packets by others. These are accepted when a test by them has been
// answered by the path, which stays (C-RX-15).
func TestSeveralRelays(t *testing.T) {
	r := heardOf(t)
	for _, beside := range []netip.AddrPort{relay2, relay3} {
		name := map[netip.AddrPort]string{relay2: "relay2", relay3: relay3.String()}[beside]
		r.want(r.receive(beside, data(host, own, 1)), "test own>host to server")
		r.want(r.receive(relay1, r.reply()), "test own>host to "+name)
		r.want(r.receive(beside, data(host, own, 2)))
		r.want(r.receive(relay1, r.reply()), "deliver data 1 host>own", "deliver data 2 host>own")
	}
	for n := range uint32(100) {
		for i, at := range []netip.AddrPort{relay1, relay2, relay3} {
			r.want(r.receive(at, data(host, own, n+uint32(i))), fmt.Sprintf("deliver data %d host>own", n+uint32(i)))
		}
		r.want(r.send(data(own, host, n)), fmt.Sprintf("data %d own>host to relay1", n))
		r.wait(100 * time.Millisecond)
	}
}

// Whoever answers the test that it was to carry has not shown that it can reach the host, and packets to the host never go there.
func TestFalseRelay(t *testing.T) {
	r := heardOf(t)
	r.receive(relay2, data(host, own, 1))
	r.want(r.receive(relay1, r.reply()), "test own>host to relay2")
	r.want(r.receive(relay2, r.reply()), "drop 1 unknown-peer")
	r.want(r.receive(relay3, r.reply()), "drop 1 unknown-peer")
	r.want(r.send(data(own, host, 2)), "data 2 own>host to relay1")
	r.want(r.wait(10*time.Second), "2s drop 1 untested")
	r.want(r.receive(relay2, data(host, own, 3)), "test own>host to server")
}

// The answer to a test may go to a relay that has gone. A packet that comes by another one has the test repeated at once.
func TestTestIsRepeated(t *testing.T) {
	r := heardOf(t)
	r.sendFor(500*time.Millisecond, 100*time.Millisecond)
	r.want(r.wait(400 * time.Millisecond))
	r.want(r.receive(relay2, data(host, own, 1))) // the answer may be on its way
	r.want(r.receive(relay2, r.reply()), "data 1 own>host to relay2", "deliver data 1 host>own")

	r = heardOf(t)
	r.sendFor(500*time.Millisecond, 100*time.Millisecond)
	r.want(r.wait(500 * time.Millisecond))
	r.want(r.receive(relay2, data(host, own, 1)), "test own>host to server")
	r.want(r.receive(relay2, data(host, own, 2)))
	r.want(r.receive(relay2, r.reply()), "data 1 own>host to relay2", "deliver data 1 host>own", "deliver data 2 host>own")
}
