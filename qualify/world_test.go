package qualify_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	timeout  = 4 * time.Second // T and N of K-04
	attempts = 3
)

var (
	server1 = netip.MustParseAddr("192.0.2.1")
	server2 = netip.MustParseAddr("192.0.2.2")
	mapped  = netip.MustParseAddrPort("203.0.113.5:40000")
	moved   = netip.MustParseAddrPort("203.0.113.5:40001")
	epoch   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// solicitation is a router solicitation that the machine sent.
type solicitation struct {
	to     netip.AddrPort
	cone   bool
	native bool // it asks for the native prefix
	nonce  [8]byte
	id     string // client identifier and secret it was signed with
	secret string
	at     time.Time
}

// world is the machine under test, its clock, and what it sent.
type world struct {
	t    *testing.T
	m    *qualify.Machine
	out  teredo.Outbox
	now  time.Time
	sent []solicitation

	id, secret string // what solicitations must be signed with; empty: nothing
	cone       bool   // they may have the cone bit
}

// newWorld makes a machine for servers in the documentation ranges, with random numbers from a fixed seed.
func newWorld(t *testing.T, change ...func(*qualify.Config)) *world {
	t.Helper()
	cfg := qualify.Config{Server: server1, Server2: server2, Filter: lab(), Rand: seeded(1)}
	for _, f := range change {
		f(&cfg)
	}
	m, err := qualify.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, m: m, now: epoch, id: string(cfg.ClientID), secret: string(cfg.Secret), cone: cfg.ConePhase}
}

func lab() teredo.Filter {
	return teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("203.0.113.0/24")}}
}

func guessedSecondary(c *qualify.Config) { c.Server2 = netip.Addr{} }

func noSecondary(c *qualify.Config) {
	c.Server2 = netip.Addr{}
	c.Filter.Permit = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("203.0.113.0/24")}
}

func local(a netip.AddrPort) func(*qualify.Config) {
	return func(c *qualify.Config) { c.Local = func() netip.AddrPort { return a } }
}

func secure(c *qualify.Config) { c.ClientID, c.Secret = []byte("client1"), []byte("teredo-secret") }

func conePhase(c *qualify.Config) { c.ConePhase = true }

func seeded(seed byte) func([]byte) { return seededWith([32]byte{seed}) }

func seededWith(seed [32]byte) func([]byte) {
	r := rand.NewChaCha8(seed)
	return func(b []byte) { r.Read(b) }
}

// start calls Start and returns the one solicitation it must send.
func (w *world) start() solicitation {
	w.t.Helper()
	w.m.Start(w.now, &w.out)
	return w.one()
}

// tick lets time pass up to the deadline, and returns what the machine sent then.
func (w *world) tick() []solicitation {
	w.t.Helper()
	d, ok := w.m.Deadline()
	if !ok {
		w.t.Fatal("no deadline")
	}
	if d.Before(w.now) {
		w.t.Fatalf("deadline %v has passed at %v", d, w.now)
	}
	w.now = d
	return w.tickNow()
}

// tickNow calls Tick without letting time pass. The deadline must move on.
func (w *world) tickNow() []solicitation {
	w.t.Helper()
	w.m.Tick(w.now, &w.out)
	if d, ok := w.m.Deadline(); ok && !d.After(w.now) {
		w.t.Fatalf("deadline %v after Tick is not later than %v", d, w.now)
	}
	return w.collect()
}

// one returns the single solicitation that the last call must have sent.
func (w *world) one() solicitation {
	w.t.Helper()
	return w.single(w.collect())
}

func (w *world) single(got []solicitation) solicitation {
	w.t.Helper()
	if len(got) != 1 {
		w.t.Fatalf("%d solicitations, want 1; status %+v", len(got), w.status())
	}
	return got[0]
}

// collect empties the outbox, checking that everything in it is a solicitation as W-RS-01 and C-SEC-01 want it.
func (w *world) collect() []solicitation {
	w.t.Helper()
	var got []solicitation
	for _, d := range w.out.Datagrams() {
		got = append(got, w.parse(d))
	}
	w.out.Reset()
	w.sent = append(w.sent, got...)
	return got
}

func (w *world) parse(d teredo.Datagram) solicitation {
	w.t.Helper()
	var p teredo.Packet
	if err := p.Parse(d.Payload); err != nil {
		w.t.Fatalf("sent %x: %v", d.Payload, err)
	}
	if !p.HasAuth || string(p.Auth.ClientID) != w.id || p.Auth.Confirmation != 0 {
		w.t.Errorf("C-SEC-01: authentication %+v", p.Auth)
	}
	if want := sign(w.secret, p.Auth, netip.AddrPort{}, p.IPv6); !bytes.Equal(p.Auth.Value, want) {
		w.t.Errorf("W-AUTH-03: authentication value %x, want %x", p.Auth.Value, want)
	}
	if p.Origin.IsValid() || len(p.Trailers) != 0 {
		w.t.Errorf("sent origin %v, trailers %x", p.Origin, p.Trailers)
	}
	cone := teredo.ConeBit(teredo.Source(p.IPv6))
	if cone && !w.cone {
		w.t.Error("C-QUAL-02: cone bit 1")
	}
	vector := "6000000000083afffe800000000000000000ffffffffffffff02000000000000000000000000000285007d3700000000"
	if cone { // and the checksum is less by as much
		vector = "6000000000083afffe800000000000008000ffffffffffffff0200000000000000000000000000028500fd3600000000"
	}
	native := teredo.AsksNativePrefix(p.IPv6)
	if native { // type 253, 16 bytes, "native", and no prefix
		vector = "6000000000183afffe800000000000000000ffffffffffffff020000000000000000000000000002850026f400000000fd026e61746976650000000000000000"
	}
	if got := hex.EncodeToString(p.IPv6); got != vector {
		w.t.Errorf("W-RS-01: sent %s, want %s", got, vector)
	}
	return solicitation{to: d.Remote, cone: cone, native: native, nonce: p.Auth.Nonce, id: w.id, secret: w.secret, at: w.now}
}

// sign computes an authentication value, which is empty without a secret.
func sign(secret string, a teredo.Auth, origin netip.AddrPort, ipv6 []byte) []byte {
	if secret == "" {
		return nil
	}
	value := teredo.AuthValue([]byte(secret), a.Nonce, a.Confirmation, origin, ipv6)
	return value[:]
}

// advert is a router advertisement that a test builds; valid makes the one that answers a solicitation.
type advert struct {
	from   netip.AddrPort
	auth   *teredo.Auth
	origin netip.AddrPort
	prefix netip.Addr // IPv4 address in the prefix
	native string     // the native prefix in the answer; empty: none
	dst    netip.Addr
	mangle func(ipv6 []byte) []byte
	secret string               // signed with it; empty: not
	tamper func(*teredo.Packet) // after that
}

// valid answers as a server does: with the cone bit from its other address (S-RS-03).
func valid(s solicitation, origin netip.AddrPort) advert {
	from := s.to
	if s.cone {
		from = port3544(server2)
	}
	return advert{
		from: from, auth: &teredo.Auth{ClientID: []byte(s.id), Nonce: s.nonce}, origin: origin, secret: s.secret,
		prefix: server1, dst: teredo.ClientLinkLocal(s.cone, netip.AddrPort{}),
	}
}

// deliver hands the advertisement to the machine, as its bytes would come from the socket.
func (w *world) deliver(a advert) error {
	w.t.Helper()
	ipv6 := teredo.AppendRouterAdvertisement(nil, a.prefix, a.dst)
	if a.native != "" {
		ipv6 = withNativePrefix(ipv6, netip.MustParsePrefix(a.native).Addr())
	}
	if a.mangle != nil {
		ipv6 = a.mangle(ipv6)
	}
	var b []byte
	if a.auth != nil {
		auth := *a.auth
		auth.Value = sign(a.secret, auth, a.origin, ipv6)
		b = teredo.AppendAuth(b, auth)
	}
	if a.origin.IsValid() {
		b = teredo.AppendOrigin(b, a.origin)
	}
	var p teredo.Packet
	if err := p.Parse(append(b, ipv6...)); err != nil {
		w.t.Fatalf("test advertisement: %v", err)
	}
	if a.tamper != nil {
		a.tamper(&p)
	}
	return w.m.Inbound(w.now, a.from, &p, &w.out)
}

// answer delivers the valid answer to a solicitation, and returns what the machine sent in turn.
func (w *world) answer(s solicitation, origin netip.AddrPort) []solicitation {
	w.t.Helper()
	if s.to.Addr() == server1 {
		w.m.Heard(w.now) // the caller does this for every packet of the primary
	}
	if err := w.deliver(valid(s, origin)); err != nil {
		w.t.Fatalf("answer of %v: %v", s.to, err)
	}
	return w.collect()
}

// qualify goes through both phases with a NAT of one mapping.
func (w *world) qualify(origin netip.AddrPort) {
	w.t.Helper()
	second := w.single(w.answer(w.start(), origin))
	w.answer(second, origin)
	w.expect(qualify.Qualified)
}

// expire lets the exchange that begins with the solicitation go unanswered.
func (w *world) expire() {
	w.t.Helper()
	for range attempts - 1 {
		w.single(w.tick())
	}
	if got := w.tick(); len(got) != 0 {
		w.t.Fatalf("%d solicitations after the last attempt", len(got))
	}
}

// lose lets the exchange that begins with the solicitation go unanswered by a server that has served. It is asked again at
// once; the solicitation is the result.
func (w *world) lose() solicitation {
	w.t.Helper()
	for range attempts - 1 {
		w.single(w.tick())
	}
	return w.single(w.tick())
}

func (w *world) status() qualify.Status { return w.m.Status(w.now) }

func (w *world) expect(state qualify.State) qualify.Status {
	w.t.Helper()
	s := w.status()
	if s.State != state {
		w.t.Fatalf("state %v, want %v; status %+v", s.State, state, s)
	}
	if s.Address.IsValid() != (state == qualify.Qualified) {
		w.t.Errorf("C-QUAL-16: address %v while %v", s.Address, s.State)
	}
	return s
}

func (w *world) flags() uint16 {
	w.t.Helper()
	a, ok := teredo.ParseAddress(w.status().Address)
	if !ok {
		w.t.Fatalf("no Teredo address: %+v", w.status())
	}
	return a.Flags
}

// nonces returns the distinct nonces sent, in order.
func (w *world) nonces() [][8]byte {
	var all [][8]byte
	for _, s := range w.sent {
		if !slices.Contains(all, s.nonce) {
			all = append(all, s.nonce)
		}
	}
	return all
}
