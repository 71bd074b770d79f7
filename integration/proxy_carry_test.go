//go:build linux

package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/things-go/go-socks5/statute"

	"github.com/teredo-suite/teredo/integration/lab"
)

// socks asks the proxy's SOCKS server for something, and returns the connection and the bound address.
func (p *proxy) socks(command byte, target netip.AddrPort) (*net.TCPConn, *statute.AddrSpec, error) {
	c := p.w.dial(p.host, socksAddr)
	request := statute.Request{Version: 5, Command: command, DstAddr: statute.AddrSpec{
		AddrType: statute.ATYPIPv6, IP: target.Addr().AsSlice(), Port: int(target.Port()),
	}}
	if _, err := c.Write(append([]byte{5, 1, 0}, request.Bytes()...)); err != nil {
		return c, nil, err
	}
	if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
		return c, nil, err
	}
	r, err := statute.ParseReply(c)
	if err == nil && r.Response != statute.RepSuccess {
		err = fmt.Errorf("reply %d", r.Response)
	}
	return c, &r.BndAddr, err
}

// exchange sends a line and reads it back.
func exchange(c net.Conn, line string) error {
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	b := make([]byte, len(line))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != line {
		return fmt.Errorf("%q came back as %q", line, b)
	}
	return nil
}

// TestProxyForwards has socat use forwards of TCP and UDP, a session go to a published service and back, strangers kept out, and a name
// server asked by a UDP association.
func TestProxyForwards(t *testing.T) {
	t.Parallel()
	w := newProxyWorld(t, lab.PortRestricted)
	w.serveTCP("native", native(7), echo)
	echoes := w.socket("native", native(7))
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := echoes.ReadFrom(b)
			if err != nil {
				return
			}
			echoes.WriteTo(b[:n], from)
		}
	}()
	w.serveTCP("client1", "127.0.0.1:2222", echo)
	p := w.startProxy("client1", "--socks", socksAddr, "--forward", "7777="+native(7), "--forward", "udp:127.0.0.1:7777="+native(7),
		"--publish", "22=127.0.0.1:2222", "--publish", "23=127.0.0.1:2222", "--publish-from", lab.NativeAddr+"/128")

	for _, local := range []string{"TCP:127.0.0.1:7777", "UDP:127.0.0.1:7777"} {
		out, err := w.Host("client1").Run(startTimeout, "sh", "-c", "(echo hello; sleep 2) | socat -t 20 - "+local)
		if err != nil || out != "hello\n" {
			t.Errorf("socat - %s: %q, %v", local, out, err)
		}
	}

	// A session: each side waits for the other.
	session := w.dial("native", net.JoinHostPort(p.addr.String(), "22"))
	for n := range 20 {
		if err := exchange(session, fmt.Sprintf("line %d\n", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := session.CloseWrite(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(session); len(rest) > 0 || err != nil {
		t.Errorf("at the end of the session: %q, %v", rest, err)
	}
	if _, err := w.Host("native").Run(startTimeout, "ip", "address", "add", "2001:db8:6::2/64", "dev", "uplink"); err != nil {
		t.Fatal(err)
	}
	// What is lost on the way is no refusal: the proxy must have counted one.
	w.until(p.Process, startTimeout, "a source that is not in the list to be refused", func() error {
		out, err := w.Host("native").Run(startTimeout, "curl", "-sS", "--max-time", "10", "--interface", "2001:db8:6::2", "http://["+p.addr.String()+"]:22/")
		if err == nil {
			t.Errorf("a source that is not in the list gets %q", out)
		} else if p.status().Proxy.Refused["source"] == 0 {
			return err
		}
		return nil
	})

	control, at, err := p.socks(statute.CommandAssociate, netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
	if err != nil {
		t.Fatal(err)
	}
	asking := w.socket("client1", "127.0.0.1:0")
	query, err := new(dns.Msg).SetQuestion("six.example.", dns.TypeAAAA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	d := statute.Datagram{DstAddr: statute.AddrSpec{AddrType: statute.ATYPIPv6, IP: net.ParseIP(lab.NativeAddr), Port: 53}, Data: query}
	b := make([]byte, 2048)
	var n int
	w.until(p.Process, startTimeout, "an answer of the name server", func() error {
		if _, err := asking.WriteTo(d.Bytes(), &net.UDPAddr{IP: at.IP, Port: at.Port}); err != nil {
			return err
		}
		asking.SetReadDeadline(time.Now().Add(3 * time.Second))
		n, _, err = asking.ReadFrom(b)
		return err
	})
	answer, err := statute.ParseDatagram(b[:n])
	if err != nil {
		t.Fatal(err)
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(answer.Data); err != nil || len(reply.Answer) != 1 || !strings.Contains(reply.Answer[0].String(), lab.NativeAddr) {
		t.Errorf("answer %v, %v", reply, err)
	}
	control.Close()
	p.until("no association, and the refusals", func(s proxyStatus) bool {
		return s.Proxy.Connections["socks_udp"] == 0 && s.Proxy.Total["socks_udp"] == 1 && s.Proxy.Total["forward"] == 1 &&
			s.Proxy.Total["forward_udp"] == 1 && s.Proxy.Total["publish"] == 1 && s.Proxy.Refused["source"] > 0
	})
}

// memoryOf is how much memory a process has in use, in bytes.
func memoryOf(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// TestProxyManyConnections has a thousand connections at once: all of them work, idle ones cost little, and those whose client has
// vanished do not stay. Ten thousand more that never say what they want keep nobody out.
func TestProxyManyConnections(t *testing.T) {
	t.Parallel()
	const many = 1000
	w := newProxyWorld(t, lab.PortRestricted)
	w.serveTCP("native", native(7), echo)
	p := w.startProxy("client1", "--socks", socksAddr)
	first, _, err := p.socks(statute.CommandConnect, netip.MustParseAddrPort(native(7)))
	if err == nil {
		err = exchange(first, "hello")
	}
	if err != nil {
		t.Fatal(err)
	}
	idle := memoryOf(t, p.Pid())
	conns := make([]*net.TCPConn, many)
	var opening sync.WaitGroup
	places := make(chan struct{}, 50)
	for i := range conns {
		opening.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			c, _, err := p.socks(statute.CommandConnect, netip.MustParseAddrPort(native(7)))
			if err == nil {
				err = exchange(c, fmt.Sprintf("hello from %d", i))
			}
			if err != nil {
				t.Error(i, err)
			}
			conns[i] = c
		})
	}
	opening.Wait()
	if t.Failed() {
		return
	}
	for i, c := range conns { // they are all there
		if err := c.SetDeadline(time.Now().Add(startTimeout)); err != nil {
			t.Fatal(err)
		}
		if err := exchange(c, "and again"); err != nil {
			t.Fatal(i, err)
		}
	}
	each := (memoryOf(t, p.Pid()) - idle) / many
	t.Logf("%d KiB idle, and %d bytes for each of %d connections", idle>>10, each, many)
	if idle > 40<<20 || each > 32<<10 {
		t.Error("that is too much")
	}
	for _, c := range conns {
		c.SetLinger(0)
		c.Close()
	}
	p.until("the connections to be gone", func(s proxyStatus) bool { return s.Proxy.Connections["socks"] == 1 })

	for range 10_000 {
		c := w.dial("client1", socksAddr)
		if _, err := c.Write([]byte{5}); err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Fatal(err)
		}
	}
	for range 10 {
		c, _, err := p.socks(statute.CommandConnect, netip.MustParseAddrPort(native(7)))
		if err == nil {
			err = exchange(c, "hello")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// On a busy machine, some of the connections that say nothing run out of time before newer ones take their places.
	if s := p.status(); s.Proxy.Refused["handshakes"] == 0 {
		t.Errorf("refused: %v", s.Proxy.Refused)
	} else if sum := s.Proxy.Refused["handshakes"] + s.Proxy.Refused["protocol"]; sum < 8000 || sum > 10_000 {
		t.Errorf("%d of 10000 connections that say nothing were refused: %v", sum, s.Proxy.Refused)
	}
	if used := memoryOf(t, p.Pid()); used > 128<<20 {
		t.Errorf("%d MiB in use", used>>20)
	}
}

// TestProxyStreams has half-closed connections, a slow reader, a client that vanishes, and a server that is gone for a while.
func TestProxyStreams(t *testing.T) {
	t.Parallel()
	w := newProxyWorld(t, lab.PortRestricted)
	const size = 4 << 20
	got := make(chan int, 1)
	w.serveTCP("native", native(7), echo)
	w.serveTCP("native", native(8), func(c *net.TCPConn) { // reads to the end, and then answers
		b, _ := io.ReadAll(c)
		got <- len(b)
		io.WriteString(c, "done")
	})
	w.serveTCP("native", native(9), func(c *net.TCPConn) { // sends what nobody reads
		n, _ := io.Copy(c, io.LimitReader(endless{}, 1<<30))
		got <- int(n)
	})
	p := w.startProxy("client1", "--socks", socksAddr, "--refresh-interval", "5s")

	c, _, err := p.socks(statute.CommandConnect, netip.MustParseAddrPort(native(8)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(bytes.Repeat([]byte("x"), size)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); string(b) != "done" || err != nil || <-got != size {
		t.Errorf("half-closed: %q, %v", b, err)
	}

	before := memoryOf(t, p.Pid())
	slow, _, err := p.socks(statute.CommandConnect, netip.MustParseAddrPort(native(9)))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second) // for the target to send what it can; less makes the test weaker, and does not fail it
	if more := memoryOf(t, p.Pid()) - before; more > 32<<20 {
		t.Errorf("a slow reader costs %d MiB", more>>20)
	}
	// The client vanishes: its host resets what is left of it.
	slow.SetLinger(0)
	slow.Close()
	if n := <-got; n >= 1<<30 {
		t.Errorf("the target could send %d bytes to nobody", n)
	}

	lasting, _, err := p.socks(statute.CommandConnect, netip.MustParseAddrPort(native(7)))
	if err == nil {
		err = exchange(lasting, "hello")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range w.Processes() {
		if each.Program() == "teredo-server" {
			w.stop(each) // to stop it with SIGSTOP is not enough: the kernel answers for it
		}
	}
	p.until("the silence of the server to be seen", func(proxyStatus) bool {
		out, _ := w.Host("client1").Run(startTimeout, ordinaryUser(p.folder, program("client"), "status", "--json")...)
		return strings.Contains(out, "server_silent_seconds")
	})
	lasting.SetDeadline(time.Now().Add(startTimeout))
	if err := exchange(lasting, "still here"); err != nil {
		t.Error("while the server is silent:", err)
	}
	w.startServer(ours)
	w.until(p.Process, startTimeout, "the proxy to work again", func() error {
		c, _, err := p.socks(statute.CommandConnect, netip.MustParseAddrPort(native(7)))
		if err != nil {
			return err
		}
		return exchange(c, "hello again")
	})
	if err := exchange(lasting, "still here"); err != nil {
		t.Error(err)
	}
}

// endless is a source of bytes that do not end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestProxyToProxy has a proxy and another one, and a proxy and a client with an interface, reach each other's services directly.
func TestProxyToProxy(t *testing.T) {
	t.Parallel()
	w := newProxyWorld(t, lab.PortRestricted)
	w.serveTCP("client1", "127.0.0.1:2222", echo)
	w.serveTCP("client2", "127.0.0.1:2222", echo)
	p1 := w.startProxy("client1", "--socks", socksAddr, "--publish", "22=127.0.0.1:2222")
	p2 := w.startProxy("client2", "--socks", socksAddr, "--publish", "22=127.0.0.1:2222")
	for _, way := range []struct{ from, to *proxy }{{p1, p2}, {p2, p1}} {
		c, _, err := way.from.socks(statute.CommandConnect, netip.AddrPortFrom(way.to.addr, 22))
		if err == nil {
			err = exchange(c, "hello")
		}
		if err != nil {
			t.Error(err)
		}
	}
	w.stop(p2.Process)
	_, addr := w.startClient("client2", ours)
	w.serveTCP("client2", net.JoinHostPort(addr.String(), "23"), echo)
	if err := exchange(w.dial("client2", net.JoinHostPort(p1.addr.String(), "22")), "hello"); err != nil {
		t.Error("from a client to a proxy:", err)
	}
	c, _, err := p1.socks(statute.CommandConnect, netip.AddrPortFrom(addr, 23))
	if err == nil {
		err = exchange(c, "hello")
	}
	if err != nil {
		t.Error("from a proxy to a client:", err)
	}
}

// TestProxyUsage has wrong command lines say what is wrong, and a password be asked for.
func TestProxyUsage(t *testing.T) {
	t.Parallel()
	w := newProxyWorld(t, lab.PortRestricted)
	base := []string{program("client"), "proxy", "--server", lab.ServerAddr, "--permit-ipv4", lab.PublicRanges}
	for _, test := range []struct{ flags, says string }{
		{"", "at least one of --socks, --http, --forward and --publish"},
		{"--socks 0.0.0.0:1080", "--allow-remote-clients"}, {"--http [::]:8080", "--proxy-password-file"},
		{"--forward 192.168.1.2:80=[2001:db8::1]:80", "--allow-remote-clients"},
		{"--forward 80=[fd00::1]:80", "--permit-ipv6"}, {"--forward 80=192.0.2.1:80", "IPv6"}, {"--forward 80", "FROM=TO"},
		{"--publish 127.0.0.1:80=127.0.0.1:80", "is not a port"}, {"--publish 80=8080", "127.0.0.1:8080"},
		{"--publish 22=host:22 --publish udp:22=host:22 --publish 22=host:23", "--publish 22=host:23: port 22 has a service already"},
		{"--socks 1080 --proxy-password-file /nonexistent", "no such file"}, {"--socks 1080 --resolver 192.0.2.1", "IPv6"},
		{"--socks 192.0.2.99:1080 --allow-remote-clients", "no interface of this host has this address"},
	} {
		out, err := w.Host("client1").Run(startTimeout, append(base, strings.Fields(test.flags)...)...)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %q, %v", test.flags, out, err)
		}
	}
	passwords := w.file("passwords", "ann right\n")
	if err := errors.Join(os.Chown(passwords, nobody, nobody), os.Chmod(passwords, 0o600), os.Chmod(w.Folder(), 0o755)); err != nil {
		t.Fatal(err)
	}
	p := w.startProxy("client1", "--socks", "192.168.1.2:1080", "--http", "192.168.1.2:8080", "--proxy-password-file", passwords)
	if log := p.Tail(20); !strings.Contains(log, "msg=serving what=\"[SOCKS at 192.168.1.2:1080 HTTP at 192.168.1.2:8080]\"") {
		t.Errorf("the log does not tell what is served:\n%s", log)
	}
	for _, scheme := range []string{"socks5h://%s192.168.1.2:1080", "http://%s192.168.1.2:8080"} {
		for user, works := range map[string]bool{"ann:right@": true, "ann:wrong@": false, "": false} {
			out, err := p.curl("-f", "--proxy", fmt.Sprintf(scheme, user), "http://"+native(80)+"/")
			if (err == nil) != works {
				t.Errorf("%s as %q: %q, %v", scheme, user, out, err)
			}
		}
	}
}
