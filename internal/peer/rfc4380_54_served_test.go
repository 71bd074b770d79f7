package peer_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
)

// forgotten is long enough for a peer that does not answer to be forgotten.
const forgotten = 10 * time.Minute

func prefixes(list ...string) []netip.Prefix {
	ps := []netip.Prefix{}
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// R-RX-04, R-DOS-01, H-02, SEC-LOOP: a relay sends only from the native addresses that it serves and delivers only to them, with
// and without a known path. Special-use ranges have to be named, and the addresses of its host, from which it sends all the same.
func TestRelayServes(t *testing.T) {
	near, far := netip.MustParseAddr("2001:db8:1:ff::1"), netip.MustParseAddr("2001:db8:2::1")
	ula, sixToFour, inside := netip.MustParseAddr("fd00::1"), netip.MustParseAddr("2002:808:808::1"), netip.MustParseAddr("2002:7f00:1::1")
	for _, c := range []struct {
		name    string
		serve   []netip.Prefix
		own     []netip.Addr
		yes     []netip.Addr // served
		sources []netip.Addr // whose packets are sent, and which nothing is delivered to
	}{
		{"every global one", nil, nil, []netip.Addr{near, far}, nil},
		{"but its host", nil, []netip.Addr{far, ula}, []netip.Addr{near}, []netip.Addr{far}},
		{"every one", prefixes("::/0"), []netip.Addr{far, ula}, []netip.Addr{near, far, ula, sixToFour}, nil},
		{"nobody", prefixes(), nil, nil, nil},
		{"a prefix", prefixes("2001:db8:1::/48"), nil, []netip.Addr{near}, nil},
		{"a prefix, from its host", prefixes("2001:db8:1::/48"), []netip.Addr{far}, []netip.Addr{near}, []netip.Addr{far}},
		{"a prefix with its host", prefixes("2001:db8:1::/48"), []netip.Addr{near}, []netip.Addr{near}, nil},
		{"a prefix with an odd length", prefixes("2001:db8:1:80::/57"), nil, []netip.Addr{near}, nil},
		{"a prefix with host bits", []netip.Prefix{netip.PrefixFrom(near, 48)}, nil, []netip.Addr{near}, nil},
		{"an address", prefixes("2001:db8:1:ff::1/128"), nil, []netip.Addr{near}, nil},
		{"the address before", prefixes("2001:db8:1:ff::/128"), nil, nil, nil},
		{"two prefixes", prefixes("fd00::/8", "2001:db8:2::/127"), nil, []netip.Addr{far, ula}, nil},
		{"6to4 with a global address", prefixes("2002::/16"), nil, []netip.Addr{sixToFour}, nil},
		{"not Teredo, nor link-local", prefixes("2001::/32", "fe80::/10"), nil, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, m := relayRig(t)
			r.send(data(host, other, 1)) // while every address is served
			r.receive(peerMapped, bubble(other, relayLL))
			m.Serve(c.serve, c.own)
			for _, a := range []netip.Addr{near, far, ula, sixToFour, inside, own, relayLL} {
				sent, delivered := []string{"drop 1 source"}, []string{"drop 1 destination"}
				if slices.Contains(c.yes, a) || slices.Contains(c.sources, a) {
					sent = []string{"data 2 " + a.String() + ">other to other"}
				}
				if slices.Contains(c.yes, a) {
					delivered = []string{"deliver data 3 other>" + a.String()}
				}
				r.want(r.send(data(a, other, 2)), sent...)
				r.want(r.receive(peerMapped, data(other, a, 3)), delivered...)
				withTrailer := append(data(other, a, 3), 1, 4, 1, 2, 3, 4) // not for the workers
				r.want(r.receive(peerMapped, withTrailer), delivered...)
			}
		})
	}
}

// H-02: when the addresses of the host change, so does what its relay serves. A source that is not served costs no bubble
// and no entry.
func TestRelayServesChanges(t *testing.T) {
	r, m := relayRig(t)
	m.Serve(prefixes(host.String()+"/128"), nil)
	r.want(r.send(data(native(1), other, 1)), "drop 1 source")
	if r.m.Len() != 0 {
		t.Errorf("%d entries", r.m.Len())
	}
	m.Serve(prefixes(native(1).String()+"/128"), nil)
	r.want(r.send(data(native(1), other, 2)), "bubble relay>other to peer-server")
	r.want(r.receive(peerMapped, bubble(other, relayLL)), "data 2 "+native(1).String()+">other to other")
	r.want(r.send(data(host, other, 3)), "drop 1 source")
	m.Serve(nil, nil)
	r.want(r.send(data(host, other, 4)), "data 4 host>other to other")
}

// SEC-V4-01: a subnet that the host joins has a directed-broadcast address from then on.
func TestFilterChanges(t *testing.T) {
	r, m := relayRig(t)
	r.want(r.send(data(host, other, 1)), knock)
	r.wait(forgotten)
	changed := labs
	changed.Broadcasts = []netip.Addr{peerMapped.Addr()}
	m.SetFilter(changed)
	r.want(r.send(data(host, other, 2)), "drop 1 not-global")
	m.SetFilter(labs)
	r.want(r.send(data(host, other, 3)), knock)
}

// The source of ICMPv6 errors follows the addresses of the host.
func TestErrorSourceChanges(t *testing.T) {
	r, m := relayRig(t)
	m.SetErrorSource(native(1))
	r.send(data(host, other, 1))
	r.want(r.wait(forgotten), "2s "+knock, "4s "+knock, "6s "+knock,
		"8s deliver unreachable "+native(1).String()+">host, data 1 host>other", "8s drop 1 no-path")
	m.SetErrorSource(netip.Addr{})
	r.send(data(host, other, 1))
	r.want(r.wait(forgotten), "2s "+knock, "4s "+knock, "6s "+knock, "8s drop 1 no-path")
}

// The check costs a worker neither a lock nor an allocation.
func TestServedAllocates(t *testing.T) {
	r, m := relayRig(t)
	m.Serve(prefixes("fd00::/8", host.String()+"/128"), nil)
	m.Establish(other, peerMapped, 0)
	out, in := data(host, other, 1), data(other, host, 1)
	if n := testing.AllocsPerRun(100, func() {
		if _, _, v := m.Table().Outgoing(out, 1, len(out), 1); v != peer.Carry {
			r.Fatalf("outgoing: action %d", v)
		}
		if v := incoming(m.Table(), in, peerMapped, 0, 1); v != peer.Carry {
			r.Fatalf("incoming: action %d", v)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
