package qualify_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// conversation is the machine with the rules of our own server, by way of a NAT of one mapping.
type conversation struct {
	*world
	server *server.Handler
	drops  map[drop.Reason]int
	heard  []teredo.Datagram // answers of the server, from where they left
}

func newConversation(t *testing.T, secrets *server.Secrets, change ...func(*qualify.Config)) *conversation {
	t.Helper()
	h, err := server.NewHandler(server.Config{Primary: server1, Secondary: server2, Filter: lab(), Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	return &conversation{world: newWorld(t, change...), server: h, drops: make(map[drop.Reason]int)}
}

// run lets some time pass, with everything that machine and server say to each other.
func (c *conversation) run(d time.Duration) {
	c.t.Helper()
	for end := c.now.Add(d); ; {
		c.exchange()
		at, ok := c.m.Deadline()
		if !ok || at.After(end) {
			c.now = end
			return
		}
		c.now = at
		c.m.Tick(c.now, &c.out)
	}
}

func (c *conversation) exchange() {
	for len(c.out.Datagrams()) > 0 {
		d := c.out.Datagrams()[0]
		local := server.Primary
		if d.Remote.Addr() == server2 {
			local = server.Secondary
		}
		v := c.server.Handle(local, mapped, d.Payload, make([]byte, 0, server.MaxOutput))
		c.out.Reset()
		if v.Action != server.Send {
			c.drops[v.Reason]++
			continue
		}
		answer := teredo.Datagram{Remote: port3544([]netip.Addr{server1, server2}[v.Local]), Payload: v.Payload}
		c.heard = append(c.heard, answer)
		c.receive(answer)
	}
}

// receive hands a datagram to the machine, as the tunnel does.
func (c *conversation) receive(d teredo.Datagram) {
	c.t.Helper()
	var p teredo.Packet
	if err := p.Parse(d.Payload); err != nil {
		c.t.Fatal(err)
	}
	if d.Remote == port3544(server1) {
		c.m.Heard(c.now)
	}
	c.m.Inbound(c.now, d.Remote, &p, &c.out) // a refusal is in the status
}

var keyExpiry = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC) // a day after epoch

// table is the server's table of secrets, at the time of the conversation.
func (c *conversation) table(secret string) *server.Secrets {
	return server.NewSecrets([]server.Secret{{ClientID: "client1", Key: []byte(secret), Expires: keyExpiry}},
		func() time.Time { return c.now })
}

// With the same secret on both sides client and server understand each other, through qualification and maintenance.
func TestSecureConversation(t *testing.T) {
	for name, change := range map[string]func(*qualify.Config){"plain": func(*qualify.Config) {}, "cone": conePhase} {
		t.Run(name, func(t *testing.T) {
			c := newConversation(t, nil, secure, change)
			c.server.SetSecrets(c.table("teredo-secret"))
			c.m.Start(c.now, &c.out)
			c.run(10 * time.Minute)
			if s := c.expect(qualify.Qualified); s.Mapped != mapped || s.Refused.Err != nil || len(c.drops) > 0 {
				t.Errorf("status %+v, the server dropped %v", s, c.drops)
			}
			c.now = keyExpiry
			c.run(time.Minute)
			if s := c.expect(qualify.Offline); !strings.Contains(s.LastError, "get a new one") { // C-SEC-04, S-RS-06
				t.Errorf("status %+v after the key has expired", s)
			}
		})
	}
}

// What must not work does not, and the client's status says why.
func TestInsecureConversations(t *testing.T) {
	tests := []struct {
		name   string
		server func(*conversation) *server.Secrets
		client func(*qualify.Config)
		want   string // part of LastError
		drops  bool
	}{
		{"wrong secret", func(c *conversation) *server.Secrets { return c.table("another") }, secure,
			`check that the server has the same secret for client "client1"`, true},
		{"unknown client", func(*conversation) *server.Secrets { return server.NewSecrets(nil, time.Now) }, secure,
			`check that the server has the same secret for client "client1"`, true},
		{"client without a secret", func(c *conversation) *server.Secrets { return c.table("teredo-secret") }, func(*qualify.Config) {},
			"does not answer (3 attempts)", true},
		{"server without secrets", func(*conversation) *server.Secrets { return nil }, secure,
			"router advertisement from 192.0.2.1:3544 refused: the server does not do secure qualification; if that is right, configure no secret", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newConversation(t, nil, tt.client)
			c.server.SetSecrets(tt.server(c))
			c.m.Start(c.now, &c.out)
			c.run(attempts * timeout)
			if s := c.expect(qualify.Offline); !strings.Contains(s.LastError, tt.want) {
				t.Errorf("LastError = %q, want %q", s.LastError, tt.want)
			}
			if got := c.drops[drop.Unauthenticated] == attempts; got != tt.drops { // S-RX-04
				t.Errorf("the server dropped %v", c.drops)
			}
		})
	}
}

// A recorded answer of the true server, signed with the right key, is of no use later; nor is a changed one.
func TestReplayedAndForgedConversation(t *testing.T) {
	c := newConversation(t, nil, secure)
	c.server.SetSecrets(c.table("teredo-secret"))
	c.m.Start(c.now, &c.out)
	c.run(time.Second)
	recorded := c.heard[0]

	c.server.SetSecrets(server.NewSecrets(nil, time.Now)) // silence
	c.m.Start(c.now, &c.out)
	c.exchange()
	c.receive(recorded)
	if s := c.expect(qualify.Starting); s.LastError != "router advertisement from 192.0.2.1:3544 refused: its nonce is not the one sent" {
		t.Errorf("replayed: LastError = %q", s.LastError)
	}
	// Somebody on the path sees the nonce, and puts it into the recorded answer.
	const nonceAt = 4 + len("client1") + 20
	nonce := c.nonce()
	copy(recorded.Payload[nonceAt:], nonce[:])
	c.receive(recorded)
	if s := c.expect(qualify.Starting); !strings.Contains(s.LastError, "its authentication value is wrong: it is forged, or the server has another secret") {
		t.Errorf("forged: LastError = %q", s.LastError)
	}
}

// nonce is that of the exchange under way: the machine repeats it.
func (c *conversation) nonce() [8]byte {
	c.t.Helper()
	c.now, _ = c.m.Deadline()
	c.m.Tick(c.now, &c.out)
	return c.single(c.collect()).nonce
}

// An operator changes the secret on the server and then on the client.
func TestSecretChange(t *testing.T) {
	c := newConversation(t, nil, secure)
	c.server.SetSecrets(c.table("teredo-secret"))
	c.m.Start(c.now, &c.out)
	c.run(time.Minute)
	address := c.expect(qualify.Qualified).Address
	c.server.SetSecrets(c.table("another"))
	if err := c.m.SetSecret(c.now, []byte("client1"), []byte("another"), &c.out); err != nil {
		t.Fatal(err)
	}
	c.secret = "another"
	c.run(10 * time.Minute)
	if s := c.expect(qualify.Qualified); s.Address != address || len(c.drops) > 0 {
		t.Errorf("status %+v, the server dropped %v", s, c.drops)
	}
}
