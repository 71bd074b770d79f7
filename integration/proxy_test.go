//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	nobody    = 65534 // user and group
	socksAddr = "127.0.0.1:1080"
	httpAddr  = "127.0.0.1:8080"
)

// ordinaryUser is a command line that runs a program as an ordinary user in a container without rights: it has no capability and
// cannot get one, and there is no /dev/net/tun. Its folder is the user's for everything.
func ordinaryUser(folder string, argv ...string) []string {
	const prepare = `mount -t tmpfs none /dev/net && exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs ` +
		`--bounding-set=-all --inh-caps=-all --ambient-caps=-all -- "$@"`
	return append([]string{"env", "-i", "PATH=" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + folder, "XDG_STATE_HOME=" + folder, "HOME=/nonexistent",
		"unshare", "--mount", "sh", "-c", prepare, "sh"}, argv...)
}

// proxy is a running teredo-client proxy.
type proxy struct {
	*lab.Process
	w      *world
	host   string
	folder string // of its user
	addr   netip.Addr
}

// startProxy starts a proxy as an ordinary user and waits until it has IPv6.
func (w *world) startProxy(host string, flags ...string) *proxy {
	w.t.Helper()
	folder, err := os.MkdirTemp("/run", "user")
	if err == nil {
		err = os.Chown(folder, nobody, nobody)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	p := &proxy{w: w, host: host, folder: folder}
	p.start(flags...)
	return p
}

// start starts the proxy, once more.
func (p *proxy) start(flags ...string) {
	p.w.t.Helper()
	argv := append([]string{program("client"), "proxy", "--server", lab.ServerAddr, "--server2", lab.ServerAddr2, "--permit-ipv4", lab.PublicRanges}, flags...)
	p.Process = p.w.start(p.host, ordinaryUser(p.folder, argv...)...)
	p.w.until(p.Process, startTimeout, "the proxy to be qualified", func() error {
		s := p.status()
		p.addr = s.Address
		if s.State != "qualified" {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
}

// proxyStatus is what tests read of a proxy's status.
type proxyStatus struct {
	State    string
	Address  netip.Addr
	Confined string
	Proxy    struct {
		Connections map[string]int
		Total       map[string]int `json:"connections_total"`
		Refused     map[string]int
	}
}

// status asks the proxy as its user does, without naming the control socket.
func (p *proxy) status() (s proxyStatus) {
	out, err := p.w.Host(p.host).Run(startTimeout, ordinaryUser(p.folder, program("client"), "status", "--json")...)
	if err == nil || out != "" {
		err = json.Unmarshal([]byte(out), &s)
	}
	if err != nil {
		s.State = err.Error()
	}
	return s
}

// until waits until the status fulfils a condition.
func (p *proxy) until(what string, holds func(proxyStatus) bool) {
	p.w.t.Helper()
	p.w.until(p.Process, startTimeout, what, func() error {
		if s := p.status(); !holds(s) {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
}

// curl runs curl on the proxy's host.
func (p *proxy) curl(args ...string) (string, error) {
	return p.w.Host(p.host).Run(startTimeout, append([]string{"curl", "-sS", "--max-time", "50"}, args...)...)
}

// serveHTTP answers on a host until the test ends.
func (w *world) serveHTTP(host, addr string, handler http.Handler) {
	w.t.Helper()
	l, err := w.Host(host).Listen(addr)
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	// It serves until the listener is closed, and returns just that.
	go func() { _ = server.Serve(l) }()
	w.t.Cleanup(func() { server.Close() })
}

// serveTCP handles connections on a host until the test ends.
func (w *world) serveTCP(host, addr string, handle func(*net.TCPConn)) {
	w.t.Helper()
	l, err := w.Host(host).Listen(addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			}()
		}
	}()
}

// dial connects on a host.
func (w *world) dial(host, addr string) *net.TCPConn {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := w.Host(host).Dial(ctx, addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		w.t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func echo(c *net.TCPConn) {
	// It ends when the other side does, and the error is that one's.
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// native joins the native host's address and a port.
func native(port int) string { return net.JoinHostPort(lab.NativeAddr, fmt.Sprint(port)) }

// records is a name server.
type records map[string][]dns.RR

func (r records) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true
	asked := query.Question[0]
	all, known := r[asked.Name]
	if !known {
		reply.Rcode = dns.RcodeNameError
	}
	for _, record := range all {
		if record.Header().Rrtype == asked.Qtype {
			reply.Answer = append(reply.Answer, record)
		}
	}
	w.WriteMsg(reply)
}

// serveDNS serves names on the native host, over UDP and TCP.
func (w *world) serveDNS(zone string) {
	w.t.Helper()
	r := make(records)
	parser := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	for record, ok := parser.Next(); ok; record, ok = parser.Next() {
		name := record.Header().Name
		r[name] = append(r[name], record)
	}
	if err := parser.Err(); err != nil {
		w.t.Fatal(err)
	}
	l, err := w.Host("native").Listen(native(53))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: w.socket("native", native(53)), Handler: r}, {Listener: l, Handler: r}} {
		go func() { _ = s.ActivateAndServe() }()
		w.t.Cleanup(func() { _ = s.Shutdown() })
	}
}

// newProxyWorld is a lab with our server and relay, and a web server and a name server on the native host.
func newProxyWorld(t *testing.T, nat lab.NAT) *world {
	t.Helper()
	w := newWorld(t, nat)
	w.record()
	w.startServer(ours)
	w.startRelay(ours)
	w.serveHTTP("native", native(80), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "hello %s at %s", host, r.Host)
	}))
	w.serveDNS("six.example. 60 AAAA " + lab.NativeAddr + "\nfour.example. 60 A 198.51.100.7\nme.example. 60 AAAA ::1\n" +
		"mapped.example. 60 AAAA ::ffff:127.0.0.1\nmany.example. 60 AAAA ::1\nmany.example. 60 AAAA " + lab.NativeAddr + "\n")
	return w
}

// TestProxyFetches has an ordinary user, in a container without any right and without /dev/net/tun, fetch pages from an IPv6-only host
// by SOCKS and HTTP; and nothing from where the proxy must not go.
func TestProxyFetches(t *testing.T) {
	t.Parallel()
	w := newProxyWorld(t, lab.PortRestricted)
	p := w.startProxy("client1", "--socks", socksAddr, "--http", httpAddr, "--resolver", lab.NativeAddr, "--web", "127.0.0.1:9544")
	if s := p.status(); s.Confined != "capabilities, no_new_privs, landlock, seccomp" {
		t.Errorf("confined by %q", s.Confined)
	}
	for _, test := range []struct{ proxy, host string }{
		{"socks5h://" + socksAddr, "[" + lab.NativeAddr + "]"}, {"socks5h://" + socksAddr, "six.example"}, {"socks5h://" + socksAddr, "many.example"},
		{"http://" + httpAddr, "[" + lab.NativeAddr + "]"}, {"http://" + httpAddr, "six.example"},
	} {
		for _, how := range [][]string{nil, {"--proxytunnel"}} {
			out, err := p.curl(append(how, "--proxy", test.proxy, "http://"+test.host+"/")...)
			if want := fmt.Sprintf("hello %v at %s", p.addr, test.host); err != nil || out != want {
				t.Errorf("%s %s %v: %q, %v, want %q", test.proxy, test.host, how, out, err, want)
			}
		}
	}
	for host, says := range map[string]string{
		"[::1]": "not a global IPv6 address", "[fe80::1]": "not a global", "[fd00::1]": "not a global", "[64:ff9b::7f00:1]": "not a global",
		"[2002:7f00:1::1]": "not a global", "[2001:0:c000:201:0:f227:80ff:fffe]": "not a global", "me.example": "::1 is not a global",
		"[::ffff:127.0.0.1]": "not a global", "mapped.example": "has no IPv6 address", "four.example": "four.example has no IPv6 address, only IPv4 198.51.100.7",
		"none.example": "does not exist", "127.0.0.1": "IPv4",
	} {
		if out, err := p.curl("--proxy", "http://"+httpAddr, "http://"+host+"/"); err != nil || !strings.Contains(out, says) {
			t.Errorf("%s by HTTP: %q, %v", host, out, err)
		}
		if out, err := p.curl("--proxy", "socks5h://"+socksAddr, "http://"+host+"/"); err == nil {
			t.Errorf("%s by SOCKS: %q", host, out)
		}
	}
	// The proxy refuses 9 hosts twice for what they are; others for what they have not.
	p.until("the refusals to be counted", func(s proxyStatus) bool {
		return s.Proxy.Refused["target"] == 16 && s.Proxy.Refused["no_ipv6"] == 6 && s.Proxy.Refused["name"] == 2 && s.Proxy.Total["socks"] > 0
	})
	ping := ordinaryUser(p.folder, program("client"), "ping", "-c", "1", lab.NativeAddr)
	if out, err := w.Host(p.host).Run(pingTimeout, ping...); err != nil || !strings.Contains(out, "1 sent, 1 answered") {
		t.Errorf("ping: %q, %v", out, err)
	}
	w.until(p.Process, startTimeout, "the metrics to tell the refusals", func() error { // an answer is given for a second
		metrics, err := p.curl("http://127.0.0.1:9544/metrics")
		if err == nil && !strings.Contains(metrics, `teredo_proxy_refused_total{reason="target"} 16`) {
			err = errors.New(metrics)
		}
		return err
	})
	if code, err := p.Stop(exitTimeout); err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}
	// The next run has the same address.
	was := p.addr
	p.start("--socks", socksAddr)
	if p.addr != was {
		t.Errorf("address %v, and %v before", p.addr, was)
	}
}
