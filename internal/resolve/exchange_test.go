package resolve

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const good = zone("a.example. 60 A 192.0.2.1\nb.x.example. 60 A 192.0.2.2\nsix.y.example. 60 AAAA 2001:db8::1\n")

func checkAddress(t *testing.T, r *Resolver, name string) {
	t.Helper()
	got, ttl, err := r.Lookup(t.Context(), name)
	if err != nil || ttl != time.Minute || !slices.Equal(got, addrs("192.0.2.1")) {
		t.Errorf("%s: %v %v %v, want 192.0.2.1 for a minute", name, got, ttl, err)
	}
}

func TestNextServer(t *testing.T) {
	referral := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) { w.WriteMsg(new(dns.Msg).SetReply(query)) })
	for name, first := range map[string]dns.Handler{
		"SERVFAIL": refuse(dns.RcodeServerFailure), "REFUSED": refuse(dns.RcodeRefused), "NOTIMP": refuse(dns.RcodeNotImplemented),
		"unknown code": refuse(15), "does not recurse": referral, "silent": silent(),
	} {
		t.Run(name, func(t *testing.T) {
			var seen log
			checkAddress(t, newResolver(t, impatient, first, seen.around(good)), "a.example")
			if diff := cmp.Diff([]string{"udp a.example."}, seen.seen()); diff != "" {
				t.Errorf("queries to the second server (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNameErrorIsFinal(t *testing.T) {
	var seen log
	r := newResolver(t, once, good, seen.around(good))
	if _, _, err := r.Lookup(t.Context(), "none.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want %v", err, ErrNotFound)
	}
	if queries := seen.seen(); len(queries) > 0 {
		t.Errorf("the second server was asked, too: %q", queries)
	}
}

func TestAllServersFail(t *testing.T) {
	closed := func(t *testing.T) *Resolver { // nobody listens any more
		r := &Resolver{}
		t.Run("server that ends", func(t *testing.T) { r.port = serve(t, "127.0.0.1:0", good) })
		r.ConfPath, r.HostsPath = t.TempDir()+"/resolv.conf", t.TempDir()+"/hosts"
		write(t, r.ConfPath, "nameserver 127.0.0.1\n")
		return r
	}
	tests := []struct {
		name     string
		resolver *Resolver
		err      error
		text     string
	}{
		{"silent", newResolver(t, impatient, silent()), ErrNoAnswer, "no name server answered (is the network up?): read udp 127.0.0.1:"},
		{"closed", closed(t), ErrNoAnswer, "connection refused"},
		{"failing", newResolver(t, once, refuse(dns.RcodeServerFailure)), ErrFailed, "says SERVFAIL"},
		{"failing, then silent", newResolver(t, impatient, refuse(dns.RcodeRefused), silent()), ErrFailed, "says REFUSED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := tt.resolver.Lookup(t.Context(), "a.example"); !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %v with %q", err, tt.err, tt.text)
			}
		})
	}
}

func TestAttempts(t *testing.T) {
	var first, second log
	n := 0
	third := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) { // answers the third time
		if n++; n == 3 {
			good.ServeDNS(w, query)
			return
		}
		refuse(dns.RcodeServerFailure)(w, query)
	})
	r := newResolver(t, "options attempts:3", first.around(refuse(dns.RcodeServerFailure)), second.around(third))
	checkAddress(t, r, "a.example")
	if len(first.seen()) != 3 || len(second.seen()) != 3 {
		t.Errorf("queries %q and %q, want three each", first.seen(), second.seen())
	}
}

func TestSearch(t *testing.T) {
	failing := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		if strings.HasSuffix(query.Question[0].Name, ".bad.example.") {
			refuse(dns.RcodeServerFailure)(w, query)
			return
		}
		good.ServeDNS(w, query)
	})
	tests := []struct {
		name, list, lookup string
		err                error
		queries            []string
	}{
		{"second suffix", "no.example x.example", "b", nil, []string{"udp b.no.example.", "udp b.x.example."}},
		{"after a name without IPv4", "y.example example", "six", ErrNoIPv4, []string{"udp six.y.example.", "udp six.example.", "udp six."}},
		{"after a failure", "bad.example x.example", "b", nil, []string{"udp b.bad.example.", "udp b.x.example."}},
		{"failure is no verdict", "bad.example y.example", "six", ErrFailed, []string{"udp six.bad.example.", "udp six.y.example.", "udp six."}},
		{"failure after no IPv4", "y.example bad.example", "six", ErrFailed, []string{"udp six.y.example.", "udp six.bad.example.", "udp six."}},
		{"nowhere", "x.example", "c", ErrNotFound, []string{"udp c.x.example.", "udp c."}},
		{"fully qualified", "x.example", "b.", ErrNotFound, []string{"udp b."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var seen log
			r := newResolver(t, once+"\nsearch "+tt.list, seen.around(failing))
			if _, _, err := r.Lookup(t.Context(), tt.lookup); !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.queries, seen.seen()); diff != "" {
				t.Errorf("queries (-want +got):\n%s", diff)
			}
		})
	}
	var seen log
	r := newResolver(t, impatient+"\nsearch x.example", seen.around(silent()))
	if _, _, err := r.Lookup(t.Context(), "a.b"); !errors.Is(err, ErrNoAnswer) || len(seen.seen()) != 1 {
		t.Errorf("error %v after queries %q, want %v after one", err, seen.seen(), ErrNoAnswer)
	}
}

func TestTruncation(t *testing.T) {
	var records strings.Builder
	for i := range 200 {
		fmt.Fprintf(&records, "big.example. 60 A 192.0.2.%d\n", i)
	}
	big := zone(records.String())
	truncated := func(cut func(reply *dns.Msg) []byte) dns.HandlerFunc {
		return func(w dns.ResponseWriter, query *dns.Msg) {
			reply := big.reply(query)
			if network(w) == "udp" {
				w.Write(cut(reply))
				return
			}
			w.WriteMsg(reply)
		}
	}
	tests := map[string]dns.Handler{
		"at a record": truncated(func(reply *dns.Msg) []byte {
			reply.Truncate(dns.MinMsgSize)
			b, _ := reply.Pack()
			return b
		}),
		"within a record": truncated(func(reply *dns.Msg) []byte {
			reply.Truncated = true
			b, _ := reply.Pack()
			return b[:511]
		}),
	}
	for name, handler := range tests {
		t.Run(name, func(t *testing.T) {
			var seen log
			r := newResolver(t, once, seen.around(handler))
			if got, _, err := r.Lookup(t.Context(), "big.example"); err != nil || len(got) != 200 {
				t.Errorf("%d addresses, error %v, want 200", len(got), err)
			}
			if diff := cmp.Diff([]string{"udp big.example.", "tcp big.example."}, seen.seen()); diff != "" {
				t.Errorf("queries (-want +got):\n%s", diff)
			}
		})
	}
	always := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := good.reply(query)
		reply.Truncated = true
		w.WriteMsg(reply)
	})
	if _, _, err := newResolver(t, once, always).Lookup(t.Context(), "a.example"); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("truncated over TCP: error %v, want %v", err, ErrNoAnswer)
	}
}

// hostile are messages that are not the reply to a query, and would lead the client to 203.0.113.66 if they were taken for it.
func hostile() map[string]func(query *dns.Msg) []byte {
	forge := func(change func(m *dns.Msg)) func(query *dns.Msg) []byte {
		return func(query *dns.Msg) []byte {
			m := zone("a.example. 60 A 203.0.113.66\n").reply(query)
			change(m)
			b, err := m.Pack()
			if err != nil {
				panic(err)
			}
			return b
		}
	}
	return map[string]func(query *dns.Msg) []byte{
		"wrong id":         forge(func(m *dns.Msg) { m.Id++ }),
		"wrong name":       forge(func(m *dns.Msg) { m.Question[0].Name = "b.example." }),
		"wrong type":       forge(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }),
		"wrong class":      forge(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
		"a query":          forge(func(m *dns.Msg) { m.Response = false }),
		"an update":        forge(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }),
		"no question":      forge(func(m *dns.Msg) { m.Question = nil }),
		"two questions":    forge(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
		"name error, id":   forge(func(m *dns.Msg) { m.Id++; m.Rcode = dns.RcodeNameError }),
		"truncated, id":    forge(func(m *dns.Msg) { m.Id++; m.Truncated = true }),
		"half a message":   func(query *dns.Msg) []byte { b := forge(func(*dns.Msg) {})(query); return b[:len(b)-7] },
		"only an id":       func(query *dns.Msg) []byte { return []byte{byte(query.Id >> 8), byte(query.Id)} },
		"endless pointers": func(query *dns.Msg) []byte { b := forge(func(*dns.Msg) {})(query); b[12], b[13] = 0xc0, 12; return b },
		"nothing":          func(*dns.Msg) []byte { return []byte{} },
	}
}

// Anybody can send a datagram that looks as if it came from the name server: the real answer after it counts.
func TestHostileDatagramsAreIgnored(t *testing.T) {
	for name, forged := range hostile() {
		t.Run(name, func(t *testing.T) {
			r := newResolver(t, once, dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
				w.Write(forged(query))
				good.ServeDNS(w, query)
			}))
			checkAddress(t, r, "a.example")
		})
	}
}

// Over TCP only the name server itself can be wrong. The next one is asked.
func TestHostileStreams(t *testing.T) {
	for name, forged := range hostile() {
		t.Run(name, func(t *testing.T) {
			first := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
				if network(w) == "tcp" {
					w.Write(forged(query))
					return
				}
				reply := new(dns.Msg).SetReply(query)
				reply.Truncated = true
				w.WriteMsg(reply)
			})
			checkAddress(t, newResolver(t, once, first, good), "a.example")
		})
	}
}

// An answer to the right question can hold records of other names and classes: they are not for us.
func TestForeignRecords(t *testing.T) {
	r := newResolver(t, once, dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := good.reply(query)
		reply.Answer = append(zone("b.example. 1 A 203.0.113.66\n").reply(new(dns.Msg).SetQuestion("b.example.", dns.TypeA)).Answer, reply.Answer...)
		chaos := dns.Copy(reply.Answer[1]).(*dns.A)
		chaos.Hdr.Class, chaos.A = dns.ClassCHAOS, net.IPv4(203, 0, 113, 66)
		reply.Answer = append([]dns.RR{chaos}, reply.Answer...)
		w.WriteMsg(reply)
	}))
	checkAddress(t, r, "a.example")
}

func TestChainTTL(t *testing.T) {
	for seconds, want := range map[uint32]time.Duration{
		0: minTTL, 4: minTTL, 6: 6 * time.Second, 86399: maxTTL - time.Second, 86401: maxTTL,
		math.MaxInt32: maxTTL, math.MaxInt32 + 1: minTTL, math.MaxUint32: minTTL,
	} {
		c := newChain("a.example.", dns.TypeA)
		found, err := c.follow([]dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: "a.example.", Class: dns.ClassINET, Rrtype: dns.TypeA, Ttl: seconds}, A: net.IPv4(192, 0, 2, 1),
		}})
		if err != nil || len(found) != 1 || c.lifetime() != want {
			t.Errorf("TTL %d: %v %v %v, want %v", seconds, found, c.lifetime(), err, want)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	query := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
	for _, forged := range hostile() {
		f.Add(forged(query))
	}
	if b, err := good.reply(query).Pack(); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		reply, ok := parseReply(b, query)
		if !ok {
			return
		}
		if reply.Id != query.Id || !reply.Response {
			t.Fatalf("took %x for the reply", b)
		}
		c := newChain("a.example.", dns.TypeA)
		found, err := c.follow(reply.Answer)
		if c.aliases > maxAliases+1 || c.lifetime() < minTTL || c.lifetime() > maxTTL || err != nil && len(found) > 0 {
			t.Fatalf("%x: %d aliases, lifetime %v, %v %v", b, c.aliases, c.lifetime(), found, err)
		}
		for _, addr := range found {
			if !addr.Is4() {
				t.Fatalf("%x: %s", b, addr)
			}
		}
	})
}
