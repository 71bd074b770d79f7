package resolve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const (
	once      = "options timeout:30 attempts:1"
	impatient = "options timeout:2 attempts:1" // beside a server that never answers
)

func TestLookup(t *testing.T) {
	records := zone(`
one.example.     300   A 192.0.2.1
two.example.     600   A 192.0.2.2
two.example.     60    A 192.0.2.1
short.example.   0     A 192.0.2.1
long.example.    604800 A 192.0.2.1
six.example.     300   AAAA 2001:db8::1
alias.example.   120   CNAME one.example.
slow.example.    9000  CNAME one.example.
alias6.example.  120   CNAME six.example.
dangling.example. 120  CNAME nowhere.example.
loop.example.    120   CNAME pool.example.
pool.example.    120   CNAME loop.example.
c8.example. 99 CNAME c7.example.
c7.example. 99 CNAME c6.example.
c6.example. 99 CNAME c5.example.
c5.example. 99 CNAME c4.example.
c4.example. 99 CNAME c3.example.
c3.example. 99 CNAME c2.example.
c2.example. 99 CNAME c1.example.
c1.example. 99 CNAME one.example.
c9.example. 99 CNAME c8.example.
`)
	tests := []struct {
		name string
		want []netip.Addr
		ttl  time.Duration
		err  error
	}{
		{name: "one.example", want: addrs("192.0.2.1"), ttl: 300 * time.Second},
		{name: "ONE.Example.", want: addrs("192.0.2.1"), ttl: 300 * time.Second},
		{name: "two.example", want: addrs("192.0.2.2", "192.0.2.1"), ttl: time.Minute},
		{name: "short.example", want: addrs("192.0.2.1"), ttl: 5 * time.Second},
		{name: "long.example", want: addrs("192.0.2.1"), ttl: 24 * time.Hour},
		{name: "alias.example", want: addrs("192.0.2.1"), ttl: 120 * time.Second},
		{name: "slow.example", want: addrs("192.0.2.1"), ttl: 300 * time.Second},
		{name: "c8.example", want: addrs("192.0.2.1"), ttl: 99 * time.Second},
		{name: "c9.example", err: ErrFailed},
		{name: "loop.example", err: ErrFailed},
		{name: "six.example", err: ErrNoIPv4},
		{name: "alias6.example", err: ErrNoIPv4},
		{name: "none.example", err: ErrNotFound},
		{name: "dangling.example", err: ErrNotFound},
	}
	// The same chain of aliases is one answer, or one answer each: servers may do both.
	for form, handler := range map[string]dns.Handler{"record by record": records, "whole chains": wholeChains(records)} {
		r := newResolver(t, once, handler)
		for _, tt := range tests {
			t.Run(form+"/"+tt.name, func(t *testing.T) {
				got, ttl, err := r.Lookup(t.Context(), tt.name)
				if !errors.Is(err, tt.err) || ttl != tt.ttl {
					t.Errorf("TTL %v, error %v, want %v, %v", ttl, err, tt.ttl, tt.err)
				}
				if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("addresses (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// wholeChains puts the records of an alias's targets into the answer, the last first: nothing depends on their order.
func wholeChains(z zone) dns.HandlerFunc {
	return func(w dns.ResponseWriter, query *dns.Msg) {
		whole := z.reply(query)
		for part, n := whole, 0; len(part.Answer) == 1 && n < 20; n++ {
			alias, ok := part.Answer[0].(*dns.CNAME)
			if !ok {
				break
			}
			part = z.reply(new(dns.Msg).SetQuestion(alias.Target, dns.TypeA))
			whole.Answer = append(slices.Clone(part.Answer), whole.Answer...)
			whole.Rcode = part.Rcode
		}
		w.WriteMsg(whole)
	}
}

func TestChainIsAskedOnlyAsNeeded(t *testing.T) {
	z := zone("a.example. 60 CNAME b.example.\nb.example. 60 CNAME c.example.\nc.example. 60 A 192.0.2.1\n")
	for name, tt := range map[string]struct {
		handler dns.Handler
		want    []string
	}{
		"whole":            {wholeChains(z), []string{"udp a.example."}},
		"record by record": {z, []string{"udp a.example.", "udp b.example.", "udp c.example."}},
	} {
		t.Run(name, func(t *testing.T) {
			var seen log
			r := newResolver(t, once, seen.around(tt.handler))
			if _, _, err := r.Lookup(t.Context(), "a.example"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, seen.seen()); diff != "" {
				t.Errorf("queries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLookupWithoutNameServer(t *testing.T) {
	r := &Resolver{ConfPath: "/nonexistent/resolv.conf", HostsPath: "/nonexistent/hosts"}
	if got, ttl, err := r.Lookup(t.Context(), "192.0.2.1"); err != nil || ttl != 0 || !slices.Equal(got, addrs("192.0.2.1")) {
		t.Errorf("%v %v %v, want the address itself, for ever", got, ttl, err)
	}
	for name, want := range map[string]error{
		"2001:db8::1": ErrIPv6, "::ffff:192.0.2.1": ErrIPv6, "fe80::1%eth0": ErrIPv6,
		"": ErrBadName, ".": ErrBadName, "a..example": ErrBadName, ".example": ErrBadName, "192.0.2.300": ErrBadName, "192.0.2": ErrBadName,
		"teredo.example:3544": ErrBadName, "https://teredo.example": ErrBadName, "teredo example": ErrBadName, "[2001:db8::1]": ErrBadName,
		strings.Repeat("a", 64) + ".example": ErrBadName, strings.Repeat("abcdefg.", 32) + "example": ErrBadName, `a\.example`: ErrBadName,
		"teredo.example": ErrNoNameserver,
	} {
		got, ttl, err := r.Lookup(t.Context(), name)
		if !errors.Is(err, want) || got != nil || ttl != 0 {
			t.Errorf("%q: %v %v %v, want %v", name, got, ttl, err, want)
		}
	}
}

// What a person reads, whole.
func TestErrorSentences(t *testing.T) {
	r := newResolver(t, once, zone("six.example. 60 AAAA 2001:db8::1\n"))
	empty := &Resolver{ConfPath: r.HostsPath, HostsPath: r.HostsPath}
	absent := &Resolver{ConfPath: "/nonexistent/resolv.conf", HostsPath: r.HostsPath}
	tests := []struct {
		resolver *Resolver
		name     string
		want     string
	}{
		{r, "none.example", `look up "none.example": the name does not exist`},
		{r, "six.example", `look up "six.example": the name has no IPv4 address`},
		{r, "2001:db8::1", `look up "2001:db8::1": an IPv6 address, but Teredo servers are reached over IPv4: give an IPv4 address or a name`},
		{r, "a:3544", `look up "a:3544": neither a host name nor an IPv4 address: name the host alone, a`},
		{empty, "a.example", fmt.Sprintf("look up \"a.example\": no nameserver is configured: add a line 'nameserver ADDRESS' to %s", r.HostsPath)},
		{absent, "a.example", `look up "a.example": no nameserver is configured: create /nonexistent/resolv.conf with a line 'nameserver ADDRESS'`},
	}
	for _, tt := range tests {
		if _, _, err := tt.resolver.Lookup(t.Context(), tt.name); err == nil || err.Error() != tt.want {
			t.Errorf("%v\nwant %s", err, tt.want)
		}
	}
}

// What to write instead.
func TestCheck(t *testing.T) {
	const example = ": write one such as teredo.example.net or 192.0.2.1"
	for name, want := range map[string]string{
		"teredo.example": "", "192.0.2.1": "", "localhost": "",
		"":                            example,
		" ":                           example,
		"192.0.2.300":                 example,
		"192.0.2.1 ":                  example,
		"http://":                     example,
		"[2001:db8::1]:3544":          example,
		"http://192.0.2.300":          example,
		"http://teredo.example/":      ": name the host alone, teredo.example",
		"https://192.0.2.1:3544/?a#b": ": name the host alone, 192.0.2.1",
		"192.0.2.1:3544":              ": name the host alone, 192.0.2.1",
		"teredo.example:3544":         ": name the host alone, teredo.example",
		"teredo.example/":             ": name the host alone, teredo.example",
		"me@teredo.example":           ": name the host alone, teredo.example",
	} {
		err := Check(name)
		switch {
		case want == "" && err == nil:
		case err == nil, !errors.Is(err, ErrBadName), err.Error() != ErrBadName.Error()+want:
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newResolver(t, "", dns.HandlerFunc(func(dns.ResponseWriter, *dns.Msg) { cancel() })) // while the resolver waits
	if _, _, err := r.Lookup(ctx, "a.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if _, _, err := r.Lookup(ctx, "a.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("already cancelled: error %v, want %v", err, context.Canceled)
	}
}

func TestFilesAreReadAnew(t *testing.T) {
	r := newResolver(t, once, zone("a.example. 60 A 192.0.2.1\n"))
	lookup := func(want ...string) {
		t.Helper()
		if got, _, err := r.Lookup(t.Context(), "a.example"); err != nil || !slices.Equal(got, addrs(want...)) {
			t.Fatalf("%v %v, want %v", got, err, want)
		}
	}
	lookup("192.0.2.1")
	write(t, r.HostsPath, "192.0.2.2 a.example\n")
	lookup("192.0.2.2")
	write(t, r.HostsPath, "")
	lookup("192.0.2.1")
	write(t, r.ConfPath, "# the network went away\n")
	if _, _, err := r.Lookup(t.Context(), "a.example"); !errors.Is(err, ErrNoNameserver) {
		t.Fatalf("error %v, want %v", err, ErrNoNameserver)
	}
}

func TestUnreadableFiles(t *testing.T) {
	r := newResolver(t, once, zone("a.example. 60 A 192.0.2.1\n"))
	folder := t.TempDir()
	for name, broken := range map[string]*Resolver{
		"resolv.conf": {ConfPath: r.HostsPath + "/below", HostsPath: r.HostsPath},
		"hosts":       {ConfPath: r.ConfPath, HostsPath: folder},
	} {
		_, _, err := broken.Lookup(t.Context(), "a.example")
		if pathErr := new(fs.PathError); !errors.As(err, &pathErr) {
			t.Errorf("%s: error %v, want one that names the file", name, err)
		}
	}
}

func TestHosts(t *testing.T) {
	r := newResolver(t, once, zone("six.example. 60 A 192.0.2.9\nother.example. 60 A 192.0.2.9\n"))
	write(t, r.HostsPath, strings.Join([]string{
		"# 192.0.2.7 a.example",
		"192.0.2.1\ta.example  a A2.Example # b.example",
		"192.0.2.2 a.example",
		"192.0.2.1 a.example",
		"2001:db8::1 six.example a.example",
		"192.0.2.3",
		"192.0.2.300 a.example",
		"nonsense a.example",
		"",
	}, "\n"))
	for name, want := range map[string][]netip.Addr{
		"a.example": addrs("192.0.2.1", "192.0.2.2"), "A.EXAMPLE.": addrs("192.0.2.1", "192.0.2.2"), "a2.example": addrs("192.0.2.1"), "a": addrs("192.0.2.1"),
	} {
		if got, ttl, err := r.Lookup(t.Context(), name); err != nil || ttl != 0 || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v %v, want %v for ever", name, got, ttl, err, want)
		}
	}
	for _, name := range []string{"six.example", "other.example"} { // not in the file with an IPv4 address
		if got, ttl, err := r.Lookup(t.Context(), name); err != nil || ttl != time.Minute || !slices.Equal(got, addrs("192.0.2.9")) {
			t.Errorf("%s: %v %v %v, want the name server's answer", name, got, ttl, err)
		}
	}
	if _, _, err := r.Lookup(t.Context(), "b.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("b.example is only in a comment, error %v", err)
	}
	if err := os.Remove(r.HostsPath); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Lookup(t.Context(), "other.example"); err != nil {
		t.Errorf("without a hosts file: %v", err)
	}
}
