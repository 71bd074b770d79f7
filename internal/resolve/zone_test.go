package resolve

import (
	"errors"
	"testing"

	"github.com/miekg/dns"
)

// authority answers as the name server of home.example does: with the SOA record of its zone beside what it knows.
func authority(t *testing.T) dns.Handler {
	soa, err := dns.NewRR("home.example. 300 SOA NS1.Example. admin.example. 1 2 3 4 5")
	if err != nil {
		t.Fatal(err)
	}
	return dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := new(dns.Msg).SetReply(query)
		reply.RecursionAvailable = true
		switch name := query.Question[0].Name; {
		case query.Question[0].Qtype != dns.TypeSOA:
			reply.Rcode = dns.RcodeRefused
		case name == "home.example.":
			reply.Answer = []dns.RR{soa}
		case name == "alias.home.example.":
			alias, _ := dns.NewRR("alias.home.example. 300 CNAME www.other.example.")
			other, _ := dns.NewRR("other.example. 300 SOA ns.other.example. admin.example. 1 2 3 4 5")
			reply.Answer, reply.Ns = []dns.RR{alias}, []dns.RR{other}
		case dns.IsSubDomain("home.example.", name):
			reply.Ns = []dns.RR{soa}
			if name != "here.home.example." {
				reply.Rcode = dns.RcodeNameError
			}
		}
		w.WriteMsg(reply)
	})
}

func TestZone(t *testing.T) {
	r := newResolver(t, once, authority(t))
	for _, name := range []string{"home.example.", "here.home.example.", "not.there.home.example.", "alias.home.example."} {
		zone, primary, err := r.Zone(t.Context(), name)
		if zone != "home.example." || primary != "ns1.example." || err != nil {
			t.Errorf("%s: %q, %q, %v", name, zone, primary, err)
		}
	}
	if _, _, err := r.Zone(t.Context(), "a.b.c."); !errors.Is(err, ErrNoZone) {
		t.Errorf("error %v, want %v", err, ErrNoZone)
	}
}
