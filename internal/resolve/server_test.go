package resolve

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"github.com/teredo-suite/teredo/internal/leak"
)

func TestMain(m *testing.M) { leak.VerifyTestMain(m) }

// zone answers queries from records in the format of a zone file. The names that it has no records for do not exist.
type zone string

func (z zone) ServeDNS(w dns.ResponseWriter, query *dns.Msg) { w.WriteMsg(z.reply(query)) }

func (z zone) reply(query *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true
	asked := query.Question[0]
	reply.Rcode = dns.RcodeNameError
	parser := dns.NewZoneParser(strings.NewReader(string(z)), ".", "")
	for record, ok := parser.Next(); ok; record, ok = parser.Next() {
		if !strings.EqualFold(record.Header().Name, asked.Name) {
			continue
		}
		reply.Rcode = dns.RcodeSuccess
		if t := record.Header().Rrtype; t == asked.Qtype || t == dns.TypeCNAME {
			reply.Answer = append(reply.Answer, record)
		}
	}
	if err := parser.Err(); err != nil {
		panic(err)
	}
	return reply
}

// network says over which of "udp" and "tcp" the query came.
func network(w dns.ResponseWriter) string { return w.RemoteAddr().Network() }

// refuse answers every query with the response code.
func refuse(rcode int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, query *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(query, rcode)) }
}

// silent answers nothing.
func silent() dns.HandlerFunc { return func(dns.ResponseWriter, *dns.Msg) {} }

// log counts the queries that a server saw, by name and in order.
type log struct {
	mu      sync.Mutex
	queries []string
}

func (l *log) around(h dns.Handler) dns.HandlerFunc {
	return func(w dns.ResponseWriter, query *dns.Msg) {
		l.mu.Lock()
		l.queries = append(l.queries, fmt.Sprintf("%s %s", network(w), query.Question[0].Name))
		l.mu.Unlock()
		h.ServeDNS(w, query)
	}
}

func (l *log) seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.queries...)
}

// newResolver starts name servers, the first at 127.0.0.1, the next at 127.0.0.2 and so on, all at the same port, and
// returns a resolver that has them and the options in its resolv.conf. Its hosts file is empty.
func newResolver(t *testing.T, options string, handlers ...dns.Handler) *Resolver {
	t.Helper()
	r := &Resolver{ConfPath: filepath.Join(t.TempDir(), "resolv.conf"), HostsPath: filepath.Join(t.TempDir(), "hosts")}
	conf := options + "\n"
	r.port = "0"
	for i, h := range handlers {
		addr := fmt.Sprintf("127.0.0.%d", i+1)
		conf += "nameserver " + addr + "\n"
		r.port = serve(t, net.JoinHostPort(addr, r.port), h)
	}
	write(t, r.ConfPath, conf)
	write(t, r.HostsPath, "")
	return r
}

// serve starts a name server over UDP and TCP, and returns its port.
func serve(t *testing.T, addr string, h dns.Handler) (port string) {
	t.Helper()
	packets, stream := listen(t, addr)
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: h}, {Listener: stream, Handler: h}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		ended := make(chan error, 1)
		go func() { ended <- server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			server.Shutdown()
			if err := <-ended; err != nil {
				t.Errorf("name server: %v", err)
			}
		})
	}
	_, port, _ = net.SplitHostPort(packets.LocalAddr().String())
	return port
}

// listen opens the same port for UDP and TCP. When the system chooses it, the choice for one can be taken for the other.
func listen(t *testing.T, addr string) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 10 {
		var packets net.PacketConn
		if packets, err = net.ListenPacket("udp4", addr); err != nil {
			continue
		}
		var stream net.Listener
		if stream, err = net.Listen("tcp4", packets.LocalAddr().String()); err == nil {
			return packets, stream
		}
		packets.Close()
	}
	t.Fatal(err)
	return nil, nil
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
