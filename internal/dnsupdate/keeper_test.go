package dnsupdate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/teredo-suite/teredo/internal/leak"
)

func TestMain(m *testing.M) { leak.VerifyTestMain(m) }

var (
	first  = netip.MustParseAddr("2001:db8:c::1")
	second = netip.MustParseAddr("2001:db8:c::2")
	other  = netip.MustParseAddr("2001:db8:6::1")
	key    = Key{"laptop.", dns.HmacSHA256, "yLdK4uv5r5jMVzAS7yHCjaNqo0FgxrGpZHfDzRErmMc="}
)

// nameServer has the AAAA records of laptop.home.example.
type nameServer struct {
	addr     netip.AddrPort
	unsigned bool // its replies are not signed

	mu      sync.Mutex
	records map[string]bool
	lost    bool // it makes changes, and its replies are lost
}

func serve(t *testing.T, s *nameServer) *nameServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr, s.records = netip.MustParseAddrPort(l.Addr().String()), make(map[string]bool)
	server := &dns.Server{
		Listener: l, Handler: s, TsigSecret: map[string]string{key.Name: key.Secret},
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return s
}

func (s *nameServer) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reply := new(dns.Msg).SetReply(m)
	t := m.IsTsig()
	if t == nil || w.TsigStatus() != nil || m.Opcode != dns.OpcodeUpdate || m.Question[0].Name != "home.example." {
		reply.Rcode = dns.RcodeRefused
		w.WriteMsg(reply)
		return
	}
	for _, r := range m.Ns {
		h := r.Header()
		a, _ := r.(*dns.AAAA)
		switch {
		case h.Name != "laptop.home.example." || h.Rrtype != dns.TypeAAAA:
			reply.Rcode = dns.RcodeRefused
		case h.Class == dns.ClassANY:
			clear(s.records)
		case h.Class == dns.ClassNONE:
			delete(s.records, a.AAAA.String())
		case h.Ttl == 60:
			s.records[a.AAAA.String()] = true
		}
	}
	if s.lost {
		w.Close()
		return
	}
	if !s.unsigned {
		reply.SetTsig(t.Hdr.Name, t.Algorithm, 300, time.Now().Unix())
	}
	w.WriteMsg(reply)
}

func (s *nameServer) has() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for a := range s.records {
		list = append(list, a)
	}
	return strings.Join(list, " ")
}

func (s *nameServer) find(context.Context, string) (string, []netip.AddrPort, error) {
	return "home.example.", []netip.AddrPort{s.addr}, nil
}

// run runs a keeper until the test ends it.
func run(t *testing.T, k *Keeper) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Run(ctx)
	}()
	end = func() {
		cancel()
		<-ended
	}
	t.Cleanup(end)
	return end
}

func wait(t *testing.T, what string, so func() bool) {
	t.Helper()
	for late := time.After(time.Minute); !so(); time.Sleep(5 * time.Millisecond) {
		select {
		case <-late:
			t.Fatalf("waited too long for %s", what)
		default:
		}
	}
}

func newKeeper(s *nameServer, k Key) *Keeper {
	return NewKeeper("laptop.home.example", k, s.find, slog.New(slog.DiscardHandler))
}

// The record follows the address, takes the place of one that was left by an earlier run, and goes in the end.
func TestRecordFollows(t *testing.T) {
	s := serve(t, &nameServer{})
	s.records[other.String()] = true
	k := newKeeper(s, key)
	end := run(t, k)
	for _, a := range []netip.Addr{first, second} {
		k.Set(a)
		wait(t, "the record", func() bool { return s.has() == a.String() })
		wait(t, "the status", func() bool { return k.Status().Address == a })
	}
	if got := k.Status(); got.Name != "laptop.home.example" || got.LastError != "" || got.Updated.IsZero() {
		t.Errorf("status %+v", got)
	}
	k.Set(netip.Addr{})
	wait(t, "no record", func() bool { return s.has() == "" })
	k.Set(first)
	wait(t, "the record", func() bool { return s.has() == first.String() })
	end()
	if got := s.has(); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// A record that another host has set since stays.
func TestOthersRecord(t *testing.T) {
	s := serve(t, &nameServer{})
	k := newKeeper(s, key)
	end := run(t, k)
	k.Set(first)
	wait(t, "the status", func() bool { return k.Status().Address == first })
	s.mu.Lock()
	s.records = map[string]bool{other.String(): true}
	s.mu.Unlock()
	end()
	if got := s.has(); got != other.String() {
		t.Errorf("the record is %q", got)
	}
}

// An update whose reply is lost may have been made, so in the end its record is removed, too.
func TestLostReply(t *testing.T) {
	s := serve(t, &nameServer{lost: true})
	k := newKeeper(s, key)
	end := run(t, k)
	k.Set(first)
	wait(t, "the error", func() bool { return k.Status().LastError != "" })
	if k.Status().Address.IsValid() || s.has() != first.String() {
		t.Errorf("status %+v, record %q", k.Status(), s.has())
	}
	end()
	if got := s.has(); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// What the name server refuses, or somebody else answers, is told and changes nothing.
func TestRefused(t *testing.T) {
	wrong := key
	wrong.Secret = "aHVudGVyMg=="
	for name, test := range map[string]struct {
		server *nameServer
		key    Key
		want   string
	}{
		"another secret":    {&nameServer{}, wrong, "refuses to update laptop.home.example: REFUSED"},
		"an unsigned reply": {&nameServer{unsigned: true}, key, errUnsigned.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(serve(t, test.server), test.key)
			run(t, k)
			k.Set(first)
			wait(t, "the error", func() bool { return strings.Contains(k.Status().LastError, test.want) })
			if k.Status().Address.IsValid() {
				t.Errorf("status %+v", k.Status())
			}
		})
	}
}

func TestReasons(t *testing.T) {
	for code, want := range map[uint16]string{dns.RcodeBadKey: "BADKEY", dns.RcodeBadSig: "BADSIG", dns.RcodeBadTime: "BADTIME", 0: "NOTAUTH"} {
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNotAuth}, Extra: []dns.RR{&dns.TSIG{Hdr: dns.RR_Header{Rrtype: dns.TypeTSIG}, Error: code}}}
		if got := refused(m); !strings.Contains(got, want) {
			t.Errorf("%d: %s", code, got)
		}
	}
}

// A name server that cannot be found is tried again after 5 s, and then each time later, up to 5 min; the log tells of it once. A new
// address is told at once.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var at []int
		start := time.Now()
		k := NewKeeper("laptop.home.example", key, func(context.Context, string) (string, []netip.AddrPort, error) {
			at = append(at, int(time.Since(start)/time.Second))
			return "", nil, errors.New("no name server answered")
		}, slog.New(slog.NewTextHandler(&log, nil)))
		end := run(t, k)
		k.Set(first)
		time.Sleep(1300 * time.Second)
		k.Set(second)
		time.Sleep(time.Second)
		end()
		if got := fmt.Sprint(at); got != "[0 5 15 35 75 155 315 615 915 1215 1300 1301]" { // the last is the removal
			t.Errorf("tried after %s s", got)
		}
		if n := strings.Count(log.String(), "trying again"); n != 1 {
			t.Errorf("told %d times:\n%s", n, log.String())
		}
	})
}
