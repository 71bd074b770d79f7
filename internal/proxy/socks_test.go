package proxy

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/things-go/go-socks5/statute"

	"github.com/teredo-suite/teredo/internal/secret"
)

// request is a SOCKS request for a host, which is an address or a name.
func request(command byte, host string, port uint16) []byte {
	b := []byte{5, command, 0}
	if a, err := netip.ParseAddr(host); err != nil {
		b = append(b, statute.ATYPDomain, byte(len(host)))
		b = append(b, host...)
	} else if a.Is4() {
		b = append(append(b, statute.ATYPIPv4), a.AsSlice()...)
	} else {
		b = append(append(b, statute.ATYPIPv6), a.AsSlice()...)
	}
	return binary.BigEndian.AppendUint16(b, port)
}

// ask sends a request without a password, and returns the reply.
func ask(t *testing.T, proxy string, command byte, host string, port uint16) (*net.TCPConn, statute.Reply) {
	t.Helper()
	c := dial(t, proxy)
	c.Write(append([]byte{5, 1, 0}, request(command, host, port)...))
	chosen := make([]byte, 2)
	if _, err := io.ReadFull(c, chosen); err != nil || chosen[1] != 0 {
		t.Fatalf("method %x, %v", chosen, err)
	}
	r, err := statute.ParseReply(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

func TestSOCKSConnect(t *testing.T) {
	w := newWorld()
	w.serve(t, 80, echo)
	p := start(t, w, Config{SOCKS: loopback()})
	for _, host := range []string{"2001:db8::1", "web.example"} {
		c, r := ask(t, p.at(0), statute.CommandConnect, host, 80)
		if r.Response != statute.RepSuccess {
			t.Fatalf("%s: reply %d", host, r.Response)
		}
		if err := exchange(c, "hello"); err != nil {
			t.Error(host, err)
		}
		c.Close()
	}
	until(t, "no connection", func() bool {
		s := p.Status()
		return s.Connections["socks"] == 0 && s.Total["socks"] == 2 && s.SentBytes == 10 && s.ReceivedBytes == 10
	})
}

// Nobody gets by a proxy to where only its host gets: each way to write such a target is refused, and the address that is
// dialled is the one that was checked.
func TestTargets(t *testing.T) {
	w := newWorld()
	w.serve(t, 80, echo)
	resolver := zone{
		"loopback.example": {"::1"}, "mapped.example": {"::ffff:127.0.0.1"}, "private.example": {"fd00::1"},
		"v4.example": {"198.51.100.7", "198.51.100.8"}, "mixed.example": {"::1", "198.51.100.7", "2001:db8::1"},
		"client.example": {"2001:0:c000:201:0:f227:39cc:9bfe"},
	}
	p := start(t, w, Config{SOCKS: loopback(), HTTP: loopback(), Resolver: resolver, Filter: lab})
	for _, test := range []struct {
		host string
		want byte
	}{
		{"::1", statute.RepRuleFailure}, {"::", statute.RepRuleFailure}, {"fe80::1", statute.RepRuleFailure},
		{"ff02::1", statute.RepRuleFailure}, {"fd00::1", statute.RepRuleFailure}, {"fec0::1", statute.RepRuleFailure},
		{"::ffff:127.0.0.1", statute.RepRuleFailure}, {"::127.0.0.1", statute.RepRuleFailure}, {"::ffff:0:7f00:1", statute.RepRuleFailure},
		{"2002:7f00:1::", statute.RepRuleFailure}, {"2002:c0a8:101::1", statute.RepRuleFailure},
		{"64:ff9b::7f00:1", statute.RepRuleFailure}, {"64:ff9b::a00:1", statute.RepRuleFailure}, {"64:ff9b:1::1", statute.RepRuleFailure},
		{"2001:db8::5efe:127.0.0.1", statute.RepRuleFailure}, {"2001:db8::200:5efe:10.0.0.1", statute.RepRuleFailure},
		{"100::1", statute.RepRuleFailure}, {"2001:2::1", statute.RepRuleFailure},
		{"2001:0:7f00:1:0:f227:39cc:9bfe", statute.RepRuleFailure},   // Teredo: its server is 127.0.0.1
		{"2001:0:c000:201:0:f227:80ff:fffe", statute.RepRuleFailure}, // mapped to 127.0.0.1
		{"2001:0:c000:201:0:f227:3f57:fefe", statute.RepRuleFailure}, // mapped to 192.168.1.1
		{"2001:0:c000:201:0:ffff:34ff:8efe", statute.RepRuleFailure}, // mapped to port 0
		{"2001:0:a00:1:0:f227:34ff:8efe", statute.RepRuleFailure},    // its server is 10.0.0.1
		{"127.0.0.1", statute.RepHostUnreachable},                    // IPv4
		{"loopback.example", statute.RepRuleFailure},                 // what a name stands for is checked
		{"mapped.example", statute.RepHostUnreachable},               // that is 127.0.0.1
		{"private.example", statute.RepRuleFailure},                  //
		{"v4.example", statute.RepHostUnreachable},                   //
		{"none.example", statute.RepHostUnreachable},                 //
		{"localhost/../web.example", statute.RepHostUnreachable},     // not a name
		{"2001:db8::1", statute.RepSuccess},                          //
		{"mixed.example", statute.RepSuccess},                        // by the address that is open
		{"2001:0:c000:201:0:f227:34ff:8efe", statute.RepSuccess},     // Teredo: 203.0.113.1 by 192.0.2.1
	} {
		if _, r := ask(t, p.at(0), statute.CommandConnect, test.host, 80); r.Response != test.want {
			t.Errorf("%s: reply %d, want %d", test.host, r.Response, test.want)
		}
	}
	want := []string{"[2001:db8::1]:80", "[2001:db8::1]:80", "[2001:0:c000:201:0:f227:34ff:8efe]:80"}
	if got := strings.Join(w.dialled, " "); got != strings.Join(want, " ") {
		t.Errorf("dialled %s", got)
	}
}

func TestSOCKSReplies(t *testing.T) {
	p := start(t, newWorld(), Config{SOCKS: loopback()})
	for _, test := range []struct {
		command byte
		port    uint16
		want    byte
	}{
		{statute.CommandConnect, 81, statute.RepConnectionRefused}, {statute.CommandConnect, 0, statute.RepRuleFailure},
		{statute.CommandBind, 80, statute.RepCommandNotSupported}, {9, 80, statute.RepCommandNotSupported},
	} {
		if _, r := ask(t, p.at(0), test.command, "2001:db8::1", test.port); r.Response != test.want {
			t.Errorf("command %d, port %d: reply %d, want %d", test.command, test.port, r.Response, test.want)
		}
	}
	c := dial(t, p.at(0))
	c.Write([]byte{5, 1, 0, 5, 1, 0, 9, 1, 1})
	if b, _ := io.ReadAll(c); len(b) != 12 || b[3] != statute.RepAddrTypeNotSupported {
		t.Errorf("unknown kind of address: %x", b)
	}
	for _, hostile := range []string{"\x04\x01", "GET / HTTP/1.1\r\n\r\n", "\x05\x00", "\x05\xff" + strings.Repeat("\x09", 255)} {
		c := dial(t, p.at(0))
		io.WriteString(c, hostile)
		c.CloseWrite()
		if b, _ := io.ReadAll(c); len(b) > 2 || len(b) == 2 && b[1] != 0xff {
			t.Errorf("%q: %x", hostile, b)
		}
	}
}

// SOCKS5 with a user and password (RFC 1929).
func TestSOCKSPassword(t *testing.T) {
	w := newWorld()
	w.serve(t, 80, echo)
	p := start(t, w, Config{SOCKS: loopback(), Users: []secret.Client{
		{ID: "ann", Secret: []byte("right")}, {ID: "old", Secret: []byte("right"), Expires: time.Unix(1, 0)},
	}})
	login := func(methods, user, password string) string {
		c := dial(t, p.at(0))
		io.WriteString(c, "\x05"+string(rune(len(methods)))+methods)
		var b [2]byte
		if _, err := io.ReadFull(c, b[:]); err != nil || b[1] != 2 {
			return "method"
		}
		io.WriteString(c, "\x01"+string(rune(len(user)))+user+string(rune(len(password)))+password)
		if _, err := io.ReadFull(c, b[:]); err != nil || b[1] != 0 {
			return "password"
		}
		c.Write(request(statute.CommandConnect, "2001:db8::1", 80))
		if r, err := statute.ParseReply(c); err != nil || r.Response != 0 {
			return "request"
		}
		return ""
	}
	for _, test := range []struct{ methods, user, password, stops string }{
		{"\x00\x02", "ann", "right", ""}, {"\x00", "ann", "right", "method"}, {"\x02", "ann", "wrong", "password"},
		{"\x02", "bob", "right", "password"}, {"\x02", "", "", "password"}, {"\x02", "old", "right", "password"},
	} {
		if got := login(test.methods, test.user, test.password); got != test.stops {
			t.Errorf("%+v stops at %q", test, got)
		}
	}
	for range 40 { // somebody guesses
		login("\x02", "ann", "guess")
	}
	until(t, "attempts to be refused", func() bool { return p.Status().Refused["attempts"] > 0 })
	p.SetUsers([]secret.Client{{ID: "bob", Secret: []byte("new")}})
	until(t, "the next attempt", func() bool { return login("\x02", "bob", "new") == "" })
}

// A client that sends nothing, or one byte at a time, does not keep its place when others need it.
func TestHandshakes(t *testing.T) {
	w := newWorld()
	w.serve(t, 80, echo)
	p := start(t, w, Config{SOCKS: loopback(), Limits: Limits{Connections: 10, PerSource: 10, Handshakes: 3}})
	var silent []net.Conn
	for range 3 {
		silent = append(silent, dial(t, p.at(0)))
	}
	for range 5 {
		c, r := ask(t, p.at(0), statute.CommandConnect, "2001:db8::1", 80)
		if r.Response != 0 || exchange(c, "hello") != nil {
			t.Fatalf("reply %d", r.Response)
		}
	}
	p.refusals(t, ReasonHandshakes, 1)
	if _, err := silent[0].Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Error("the oldest silent client is still there:", err)
	}
}

func TestConnectionLimit(t *testing.T) {
	w := newWorld()
	w.serve(t, 80, echo)
	p := start(t, w, Config{SOCKS: loopback(), Limits: Limits{Connections: 2, PerSource: 2, Handshakes: 3}})
	ask(t, p.at(0), statute.CommandConnect, "2001:db8::1", 80)
	second, _ := ask(t, p.at(0), statute.CommandConnect, "2001:db8::1", 80)
	if _, r := ask(t, p.at(0), statute.CommandConnect, "2001:db8::1", 80); r.Response != statute.RepServerFailure {
		t.Errorf("reply %d beyond the limit", r.Response)
	}
	second.Close()
	until(t, "room", func() bool {
		_, r := ask(t, p.at(0), statute.CommandConnect, "2001:db8::1", 80)
		return r.Response == 0
	})
	if p.Status().Refused["connections"] == 0 {
		t.Error("not counted")
	}
}

// A UDP association belongs to the host that asked for it, lets answers of its targets through and nobody else's, and ends with
// its TCP connection.
func TestAssociation(t *testing.T) {
	w := newWorld()
	w.echoDatagrams(t, 53)
	p := start(t, w, Config{SOCKS: loopback()})
	c, r := ask(t, p.at(0), statute.CommandAssociate, "0.0.0.0", 0)
	if r.Response != 0 {
		t.Fatal("reply", r.Response)
	}
	client, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: r.BndAddr.IP, Port: r.BndAddr.Port})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(time.Minute))
	answer := make([]byte, 1<<10)
	for _, to := range []statute.AddrSpec{
		{AddrType: statute.ATYPIPv6, IP: net.ParseIP("2001:db8::1"), Port: 53},
		{AddrType: statute.ATYPDomain, FQDN: "web.example", Port: 53},
	} {
		d := statute.Datagram{DstAddr: to, Data: []byte("question")}
		client.Write(d.Bytes())
		n, err := client.Read(answer)
		if err != nil {
			t.Fatal(err)
		}
		from, err := statute.ParseDatagram(answer[:n])
		if err != nil || string(from.Data) != "question" || from.DstAddr.String() != "[2001:db8::1]:53" {
			t.Errorf("answer %+v, %v", from, err)
		}
	}
	stranger, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: r.BndAddr.IP, Port: r.BndAddr.Port})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	d := statute.Datagram{DstAddr: statute.AddrSpec{AddrType: statute.ATYPIPv6, IP: net.ParseIP("2001:db8::1"), Port: 53}}
	stranger.Write(append(d.Bytes(), "mine"...))
	p.refusals(t, ReasonClient, 1)
	for _, hostile := range [][]byte{{}, {0, 0, 0}, {0, 0, 1, 1, 1, 2, 3, 4, 0, 53, 1}, bytes.Repeat([]byte{3}, 100)} {
		client.Write(hostile)
	}
	p.refusals(t, ReasonProtocol, 4)
	closed := statute.Datagram{DstAddr: statute.AddrSpec{AddrType: statute.ATYPIPv6, IP: net.ParseIP("::1"), Port: 53}, Data: []byte("x")}
	client.Write(closed.Bytes())
	p.refusals(t, ReasonTarget, 1)
	c.Close()
	until(t, "the end of the association", func() bool { return p.Status().Connections["socks_udp"] == 0 })
}

// Targets cannot fill the memory.
func TestAssociationIsBounded(t *testing.T) {
	a := &association{targets: make(map[netip.AddrPort]struct{})}
	for port := range uint16(2 * mostTargets) {
		a.remember(netip.AddrPortFrom(netip.IPv6Loopback(), port))
	}
	if len(a.targets) != mostTargets || !a.knows(netip.AddrPortFrom(netip.IPv6Loopback(), 2*mostTargets-1)) {
		t.Errorf("%d targets", len(a.targets))
	}
}
