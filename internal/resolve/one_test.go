package resolve

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// A name server of one's own, reached by a dialler of one's own, also over TCP.
func TestServer(t *testing.T) {
	var seen log
	names := zone("six.example. 60 AAAA 2001:db8::1\nalias.example. 60 CNAME six.example.\nfour.example. 60 A 192.0.2.1\nbig.example. 60 AAAA 2001:db8::2\n")
	port := serve(t, "127.0.0.1:0", seen.around(dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := names.reply(query)
		if query.Question[0].Name == "big.example." && network(w) == "udp" {
			reply.Truncated, reply.Answer = true, nil
		}
		w.WriteMsg(reply)
	})))
	var dialled []string
	s := NewServer(netip.MustParseAddrPort("[2001:db8::53]:53"), func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled = append(dialled, network+" "+address)
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
	})
	for _, test := range []struct {
		name, network string
		want          []netip.Addr
		err           error
	}{
		{name: "six.example", want: addrs("2001:db8::1")}, {name: "SIX.example.", want: addrs("2001:db8::1")},
		{name: "alias.example", want: addrs("2001:db8::1")}, {name: "big.example", want: addrs("2001:db8::2")},
		{name: "four.example", network: "ip", want: addrs("192.0.2.1")}, {name: "four.example", network: "ip6", err: errNoIPv6},
		{name: "none.example", err: ErrNotFound}, {name: "a b", err: ErrBadName},
	} {
		got, err := s.LookupNetIP(t.Context(), test.network, test.name)
		if !slices.Equal(got, test.want) || !errors.Is(err, test.err) {
			t.Errorf("%+v: %v, %v", test, got, err)
		}
	}
	want := []string{"udp six.example.", "udp alias.example.", "udp six.example.", "udp big.example.", "tcp big.example.", "udp four.example.", "udp four.example.",
		"udp four.example.", "udp none.example."}
	if got := seen.seen(); !slices.Equal(got, want) {
		t.Errorf("asked for %q", got)
	}
	if !slices.Contains(dialled, "tcp [2001:db8::53]:53") {
		t.Errorf("dialled %q", dialled)
	}
}

// Names that nobody can list do not fill the memory.
func TestServerIsBounded(t *testing.T) {
	s := NewServer(netip.AddrPort{}, nil)
	for n := range 3 * mostKnown {
		s.remember(string(rune(n)), answer{})
	}
	if len(s.known) > mostKnown {
		t.Errorf("%d names", len(s.known))
	}
}
