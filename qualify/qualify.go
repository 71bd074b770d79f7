// Package qualify is what a Teredo client asks its server: the qualification procedure of RFC 4380 §5.2.1, secure where
// both share a secret (§5.2.2), and the maintenance procedure of §5.2.5, as changed by RFC 5991 §3.2 (no cone phase) and
// RFC 6081 §5.1.1 (refresh interval); the determination of the refresh interval (§5.2.7); and a test for hairpinning.
//
// Machine is without I/O and without a clock. The caller passes the time and what arrived, sends the datagrams that
// the machine leaves in the Outbox, and calls Tick when Deadline has come. One call does one step: it leaves at most one
// datagram, and never blocks or loops.
//
//	Initial ──Start──▶ Starting: primary ──▶ Qualified: secondary ──▶ Qualified: wait ◀──▶ Qualified: solicit
//	                     ▲     │                                                               │
//	                     │     ▼                                                               ▼
//	                     └─ Offline: wait, each time longer          Qualified or Offline: solicit a silent server
//
// The address is usable from the first answer on. The test with the server's secondary address, which tells the kind of the
// NAT, follows behind it. RFC 4380 §5.2.1 has it come first, but there a symmetric NAT makes the service unusable; with
// RFC 6081 §5.2 it does not. Without that extension the order is that of RFC 4380.
//
// A router solicitation always carries a nonce, and only an advertisement that repeats it is believed (§5.2.2). So someone
// who does not see the client's packets cannot forge an answer. With a shared secret someone who sees them cannot either.
package qualify

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	timeout  = 4 * time.Second // T: how long a router solicitation waits for its answer (K-04)
	attempts = 3               // N: transmissions of one router solicitation (K-04, A-12)

	minBackoff = 5 * time.Second   // the least wait between a failure and the next qualification
	maxBackoff = 300 * time.Second // and the longest

	silenceShare = 256 // part of a silence of the server that passes before it is asked again

	pathValidity = 30 * time.Second // how long a path lives after a packet has come on it (RFC 4380 §5.2.4, K-07)
)

// The refresh interval where none is configured (RFC 6081 §5.1.1), and what it can be. A shorter one would ask the server again
// while the answer to the last question may still come (K-04), and be a burden to it. A longer one outlasts the mapping of
// any NAT, for which RFC 4787 §4.3 recommends five minutes.
const (
	DefaultInterval = 30 * time.Second
	MinInterval     = 5 * time.Second
	MaxInterval     = 5 * time.Minute
)

// CheckInterval says whether a refresh interval is possible.
func CheckInterval(interval time.Duration) error {
	if interval < MinInterval || interval > MaxInterval {
		return fmt.Errorf("a refresh interval of %v is not possible: choose one from %v to %v", interval, MinInterval, MaxInterval)
	}
	return nil
}

// Config says whom to ask, and how.
type Config struct {
	// Server is the primary IPv4 address of the server, which the Teredo address will carry.
	Server netip.Addr
	// Server2 is its secondary address. When it is the zero Addr, the machine tries the address after Server, where
	// deployed servers have their second one. When nothing answers there, the kind of the NAT stays unknown.
	Server2 netip.Addr
	// Local returns the service port's own address and port as known now; they tell that there is no NAT. It may be nil,
	// and may return an invalid AddrPort.
	Local func() netip.AddrPort
	// Reached returns when a packet came from any peer last. While that is less than 30 s ago, the mapping works, and a
	// silent server is no reason to withdraw the address. Nil: such packets don't count.
	Reached func() time.Time
	// Last is the address that an earlier run has had. With the same server and mapping the client has it again
	// (W-ADDR-07). The zero Address means that there is none.
	Last teredo.Address
	// Interval is the refresh interval (RFC 6081 §5.1.1): 0 means 30 s, and what CheckInterval refuses is an error.
	Interval time.Duration
	// ClientID, of at most 255 bytes, and Secret are what client and server share for secure qualification (RFC 4380
	// §5.2.2). When both are empty, solicitations carry a nonce alone.
	ClientID, Secret []byte
	// ConePhase asks with the cone bit 1 first, as RFC 4380 §5.2.1 has it and RFC 5991 §3.2 advises against: a client
	// that is answered then gets an address that tells everybody what its NAT lets in.
	ConePhase bool
	// SymmetricNAT has the machine qualify behind a symmetric NAT, too, with the mapping that the primary address sees
	// (RFC 6081 §5.2, X-SNS-01). Without it the address is used only when the secondary address has been asked (RFC 4380
	// §5.2.1).
	SymmetricNAT bool
	// Filter says which IPv4 addresses the servers and the client's mapping may have.
	Filter teredo.Filter
	// Rand fills its argument with random bytes of cryptographic quality (RFC 5991 §4); nil means crypto/rand.
	Rand func([]byte)
}

// Machine runs qualification and maintenance against one server. For another server make another Machine.
// It is not safe for concurrent use.
type Machine struct {
	cfg       Config
	primary   netip.AddrPort
	secondary netip.AddrPort // invalid when there is none to ask
	guessed   bool           // the secondary is the address after the primary, not a configured one

	state      State
	nat        NAT
	sequential Verdict        // of the last symmetric NAT
	mapped     netip.AddrPort // as learned since qualification last began
	address    teredo.Address // the last address built; kept while offline, so that the same mapping gets the same address
	cone       bool           // the cone bit of solicitations, and of the address once qualified (C-QUAL-12, C-MNT-02)
	second     SecondAddress  // what the secondary address has told about the mapping
	newMapping bool           // the mapping was not that of the last address when the primary address told it
	served     bool           // the server has given this client an address

	silentSince time.Time // when a server that has served ceased to answer; zero: it answers, or has never served
	exchange    exchange
	wake        time.Time // when Tick has something to do; meaningless while Initial

	heard  time.Time     // last packet from the primary server (C-RX-03)
	asked  time.Time     // last solicitation to it
	rtt    time.Duration // of the last exchange that was answered at its first attempt
	period time.Duration // the randomised refresh interval

	failures int // qualifications failed in a row
	failure  string
	refusal  Refusal // of this exchange
	refused  Refusal // the latest of all
}

// exchange is one router solicitation, sent up to N times, that waits for its advertisement.
type exchange struct {
	server  netip.AddrPort
	cone    bool // the cone bit: 1 asks for an answer from another address
	nonce   [8]byte
	attempt int       // 1..N while waiting, 0 when there is nothing to wait for
	began   time.Time // first transmission
	sent    time.Time // latest transmission
}

func (x *exchange) waiting() bool { return x.attempt > 0 }

// silent reports whether the server has served, and does not answer now.
func (m *Machine) silent() bool { return !m.silentSince.IsZero() }

// New returns a Machine in the state Initial. It fails when a server address cannot be one.
func New(cfg Config) (*Machine, error) {
	if cfg.Interval == 0 {
		cfg.Interval = DefaultInterval
	}
	if err := CheckInterval(cfg.Interval); err != nil {
		return nil, err
	}
	if err := checkSecret(cfg.ClientID, cfg.Secret); err != nil {
		return nil, err
	}
	if cfg.Local == nil {
		cfg.Local = func() netip.AddrPort { return netip.AddrPort{} }
	}
	if cfg.Reached == nil {
		cfg.Reached = func() time.Time { return time.Time{} }
	}
	cfg.Rand = orCrypto(cfg.Rand)
	if err := checkServer(&cfg.Filter, "server", cfg.Server); err != nil {
		return nil, err
	}
	m := &Machine{cfg: cfg, primary: netip.AddrPortFrom(cfg.Server, teredo.Port)}
	if cfg.Last.Server == cfg.Server {
		m.address, m.served = cfg.Last, true
	}
	if !cfg.Server2.IsValid() {
		m.guessSecondary()
		return m, nil
	}
	if err := checkServer(&cfg.Filter, "secondary server", cfg.Server2); err != nil {
		return nil, err
	}
	if cfg.Server2 == cfg.Server {
		return nil, fmt.Errorf("secondary server %v is the same as the primary; give the server's other address, or none", cfg.Server2)
	}
	m.secondary = netip.AddrPortFrom(cfg.Server2, teredo.Port)
	return m, nil
}

func checkServer(filter *teredo.Filter, what string, server netip.Addr) error {
	switch {
	case !server.IsValid():
		return errors.New("no server address is given")
	case !server.Is4():
		return fmt.Errorf("%s %v is not an IPv4 address", what, server)
	case !filter.Global(server):
		return fmt.Errorf("%s %v is not a global IPv4 address; permit it with --permit-ipv4 %v/32 if it is meant", what, server, server)
	}
	return nil
}

// guessSecondary picks the address after the primary, unless it is one that nothing may be sent to.
func (m *Machine) guessSecondary() {
	if next := m.cfg.Server.Next(); m.cfg.Filter.Global(next) {
		m.secondary = netip.AddrPortFrom(next, teredo.Port)
		m.guessed = true
	}
}

// Start begins qualification at once, whatever the state: at first, and again when the network has changed.
// The Teredo address is withdrawn until the server has confirmed it.
func (m *Machine) Start(now time.Time, out *teredo.Outbox) {
	m.failures, m.failure = 0, ""
	m.begin(now, out)
}

// SetInterval changes the refresh interval, from now on; what is out of bounds counts as the bound. It may bring Deadline forward.
func (m *Machine) SetInterval(interval time.Duration) {
	m.cfg.Interval = min(max(interval, MinInterval), MaxInterval)
	if m.state == Qualified && !m.exchange.waiting() {
		m.period = m.refreshInterval()
		m.wake = m.heard.Add(m.period)
	}
}

// Heard notes that a packet, of any kind, came from the primary server's address and port (C-RX-03).
func (m *Machine) Heard(now time.Time) { m.heard = now }

// Nonce is that of the router solicitation that waits for its answer; zero: none does.
func (m *Machine) Nonce() [8]byte { return m.exchange.nonce }

// Deadline returns when Tick wants to be called next; false means not before Start. It does not change with Heard.
func (m *Machine) Deadline() (time.Time, bool) { return m.wake, m.state != Initial }

// Tick does what is due, and nothing when it is called early. Afterwards Deadline is later than now.
func (m *Machine) Tick(now time.Time, out *teredo.Outbox) {
	switch {
	case m.state == Initial || now.Before(m.wake):
	case !m.exchange.waiting() && m.state == Offline:
		m.begin(now, out)
	case !m.exchange.waiting():
		m.checkServerHeard(now, out)
	case m.exchange.attempt < attempts:
		m.checkPaths(now)
		m.transmit(now, out)
	default:
		m.unanswered(now, out)
	}
}
