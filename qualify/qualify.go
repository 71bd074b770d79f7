// Package qualify is what a Teredo client asks its server: the qualification procedure of RFC 4380 §5.2.1, secure where
// both share a secret (§5.2.2), and the maintenance procedure of §5.2.5, as changed by RFC 5991 §3.2 (no cone phase) and
// RFC 6081 §5.1.1 (refresh interval); the determination of the refresh interval (§5.2.7); and a test for hairpinning.
// Section numbers without an RFC are those of RFC 4380. IDs such as K-04 are explained in docs/conformance.md.
//
// A Machine does no I/O and reads no clock. The caller passes the time and what arrived, sends the datagrams that the
// Machine leaves in the Outbox, and calls Tick when Deadline has come. One call does one step: it leaves at most one
// datagram, and never blocks or loops.
//
//	Initial ──Start──▶ Starting: primary ──▶ Qualified: secondary ──▶ Qualified: wait ◀──▶ Qualified: solicit
//	                     ▲     │                                                               │
//	                     │     ▼                                                               ▼
//	                     └─ Offline: wait, each time longer          Qualified or Offline: solicit a silent server
//
// The address is usable after the first answer. The test with the server's secondary address, which tells the kind of the
// NAT, follows. RFC 4380 §5.2.1 makes that test first, because a symmetric NAT makes the service unusable there; with
// RFC 6081 §5.2 it does not. Without that extension the order is that of RFC 4380.
//
// A router solicitation always carries a nonce, and only an advertisement with the same nonce is accepted (§5.2.2). So an
// attacker who does not see the client's packets cannot forge an answer. With a shared secret no attacker can.
package qualify

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	timeout  = 4 * time.Second // T: how long a router solicitation waits for its answer (RFC 4380 §5.2.1, K-04)
	attempts = 3               // N: transmissions of one router solicitation, as in RFC 4861 §6.3.7 (RFC 4380 §5.2.1, A-12)

	minBackoff = 5 * time.Second   // the shortest wait between a failure and the next qualification
	maxBackoff = 300 * time.Second // the longest

	silenceShare = 256 // a silent server is asked again after this part of the time that it has been silent for

	pathValidity = 30 * time.Second // how long a path lives after a packet has come on it (RFC 4380 §5.2.4)
)

// The refresh interval where none is configured (RFC 6081 §5.1.1), and its bounds. A shorter one would have the client ask
// again before the timeout of the last solicitation, and burden the server. A longer one outlasts the mappings of NATs, for
// which RFC 4787 §4.3 recommends five minutes.
const (
	DefaultInterval = 30 * time.Second
	MinInterval     = 5 * time.Second
	MaxInterval     = 5 * time.Minute
)

// CheckInterval returns an error when a refresh interval is out of bounds.
func CheckInterval(interval time.Duration) error {
	if interval < MinInterval || interval > MaxInterval {
		return fmt.Errorf("a refresh interval of %v is not possible: choose one from %v to %v", interval, MinInterval, MaxInterval)
	}
	return nil
}

// ErrNotGlobal is the error of New for a server address that is not a global IPv4 address (RFC 4380 §5.2.4), and that the
// Filter does not permit.
var ErrNotGlobal = errors.New("is not a global IPv4 address")

// Config says whom to ask, and how.
type Config struct {
	// Server is the primary IPv4 address of the server, which the Teredo address will carry.
	Server netip.Addr
	// Server2 is its secondary IPv4 address. Without one the Machine tries the address after Server, which is the second
	// address of most deployed servers. When nothing answers there, the kind of the NAT stays unknown.
	Server2 netip.Addr
	// Local returns the local address and port of the service port, or an invalid AddrPort when they are not known. There is
	// no NAT when they are the mapped ones. Nil: they are never known.
	Local func() netip.AddrPort
	// Reached returns when the last packet from any peer came. While that is less than 30 s ago, the mapping works, and the
	// address stays although the server is silent. Nil: such packets don't count.
	Reached func() time.Time
	// Last is the address that an earlier run had. With the same server and mapping the client gets it again, random bits
	// included (RFC 5991 §3.1). The zero Address: there is none.
	Last teredo.Address
	// Interval is the refresh interval (RFC 6081 §5.1.1). 0 means DefaultInterval. New fails where CheckInterval does.
	Interval time.Duration
	// ClientID, of at most 255 bytes, and Secret are shared with the server for secure qualification (RFC 4380 §5.2.2).
	// When both are empty, solicitations carry only a nonce.
	ClientID, Secret []byte
	// ConePhase asks with the cone bit 1 first, as RFC 4380 §5.2.1 demands and RFC 5991 §3.2 deprecates: the address of a
	// client that qualifies so tells everybody that its NAT lets all packets in.
	ConePhase bool
	// SymmetricNAT lets the Machine qualify behind a symmetric NAT, too, with the mapping that the primary address sees
	// (RFC 6081 §5.2). Without it the address is used only after the test with the secondary address (RFC 4380 §5.2.1).
	SymmetricNAT bool
	// NativeAddress asks the server, once qualified, for the native prefix that stands for the addresses of its clients outside of
	// the Teredo service. Servers that do not know the question answer as ever, or not at all, and Status has no native address.
	NativeAddress bool
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
	sequential Tristate       // of the last symmetric NAT
	mapped     netip.AddrPort // as the primary server told since qualification began
	address    teredo.Address // the last address built; kept while offline, so that the same mapping gets the same address
	cone       bool           // the cone bit of solicitations, and of the address once qualified (§5.2.1, §5.2.5)
	second     SecondAddress  // whether the secondary address has been asked about the mapping
	newMapping bool           // the last answer of the primary address changed the mapping
	served     bool           // the server has given this client an address

	questions int                   // for the native prefix, unanswered since qualification began; N when it has been answered
	natives   teredo.NativePrefixes // the prefix that it told last; nil: none

	silentSince time.Time // when a server that had answered stopped to; zero: it answers, or never has
	exchange    exchange
	wake        time.Time // when Tick has something to do; meaningless while Initial

	heard  time.Time     // last packet from the primary server
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
	native  bool // it asks for the native prefix
	nonce   [8]byte
	attempt int       // 1..N while waiting, 0 when there is nothing to wait for
	began   time.Time // first transmission
	sent    time.Time // latest transmission
}

func (x *exchange) waiting() bool { return x.attempt > 0 }

// silent reports whether a server that has answered before does not answer now.
func (m *Machine) silent() bool { return !m.silentSince.IsZero() }

// New returns a Machine in the state Initial. It fails when the configuration is wrong: with ErrNotGlobal for a server that is
// not a global IPv4 address, and otherwise with an error that only a person can use.
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

// SetFilter changes Config.Filter. What was accepted before stays.
func (m *Machine) SetFilter(f teredo.Filter) { m.cfg.Filter = f }

func checkServer(filter *teredo.Filter, what string, server netip.Addr) error {
	switch {
	case !server.IsValid():
		return errors.New("no server address is given")
	case !server.Is4():
		return fmt.Errorf("%s %v is not an IPv4 address", what, server)
	case !filter.Global(server):
		return fmt.Errorf("%s %v %w", what, server, ErrNotGlobal)
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

// Nonce returns the nonce of the router solicitation that waits for its answer, zero when none does.
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
	case m.exchange.attempt < m.attempts():
		m.checkPaths(now)
		m.transmit(now, out)
	default:
		m.unanswered(now, out)
	}
}
