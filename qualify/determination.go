package qualify

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// Constants of RFC 4380 §5.2.7, except for the precision.
const (
	longestInterval = 120 * time.Second // the maximum refresh interval to begin with
	bubbleTimeout   = 2 * time.Second   // how long a bubble may take to the secondary port
	bubbles         = 4                 // transmissions of it: the first, and three repetitions
	precision       = time.Second       // a candidate this close to the interval is not worth a test
)

// Determination finds out how long the NAT keeps the mapping of a silent UDP port, by the procedure of RFC 4380 §5.2.7. It
// qualifies a secondary port, leaves it silent for a candidate interval, and has the server send a bubble there:
//
//	ask the server from the secondary port ──▶ silence for the candidate ──▶ up to 4 bubbles through the server ──▶ end
//	        ▲                                                                     │
//	        └──────────────── candidate longer after success, shorter after failure
//
// Like Machine it does no I/O and reads no clock. Datagrams from the service port and from the secondary port go to two
// outboxes. The secondary port must not be used for anything else; close it when Ended reports true. A Determination is not
// safe for concurrent use.
type Determination struct {
	secondary *Machine // asks the server from the secondary port, when told to

	interval  time.Duration // the longest that has passed the test
	maximum   time.Duration // the shortest that has failed, or longestInterval
	candidate time.Duration // being tested

	stage   stage
	last    time.Time  // last interaction on the secondary port
	wake    time.Time  // end of the silence, or of the wait for a bubble
	service netip.Addr // source of the bubbles
	sent    int        // bubbles for this candidate
	failure string     // why it has ended early
}

type stage uint8

const (
	asking  stage = iota // the secondary port waits for router advertisements
	silent               // nothing is sent, until the candidate interval has passed
	testing              // a bubble is under way to the secondary port
	ended
)

// NewDetermination returns a Determination for one run. cfg is the Config of the service port's Machine, except that Local may
// return the secondary port; Interval is ignored. The errors are those of New.
func NewDetermination(cfg Config) (*Determination, error) {
	cfg.Interval = longestInterval // so long that the Machine never asks the server by itself
	cfg.Reached, cfg.Last, cfg.NativeAddress = nil, teredo.Address{}, false
	m, err := New(cfg)
	if err != nil {
		return nil, err
	}
	return &Determination{secondary: m, interval: DefaultInterval, maximum: longestInterval, candidate: 2 * DefaultInterval}, nil
}

// Start begins to qualify the secondary port. Call it once, immediately after the service port has qualified.
func (d *Determination) Start(now time.Time, secondary *teredo.Outbox) {
	d.secondary.Start(now, secondary)
	d.last = now
}

// Inbound takes a datagram that came to the secondary port; p is its parsed payload. Router advertisements go to
// Machine.Inbound, whose error it returns.
func (d *Determination) Inbound(now time.Time, from netip.AddrPort, p *teredo.Packet, secondary *teredo.Outbox) error {
	d.last = now // whatever it is, it may have renewed the NAT's mapping
	switch {
	case d.stage == asking && teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6RouterAdvertisement):
		err := d.secondary.Inbound(now, from, p, secondary)
		d.followSecondary()
		return err
	case d.stage == silent:
		d.keepSilent()
	case d.stage == testing && d.isBubble(from, p):
		d.succeeded(now, secondary)
	}
	return nil
}

// Deadline returns when Tick wants to be called next; false means never.
func (d *Determination) Deadline() (time.Time, bool) {
	switch d.stage {
	case asking:
		return d.secondary.Deadline()
	case ended:
		return time.Time{}, false
	}
	return d.wake, true
}

// Tick does what is due. service is the Teredo address of the service port, the source of bubbles; the procedure ends when
// there is none.
func (d *Determination) Tick(now time.Time, service netip.Addr, fromService, fromSecondary *teredo.Outbox) {
	due, ok := d.Deadline()
	switch {
	case !ok || now.Before(due):
	case d.stage == asking:
		d.secondary.Tick(now, fromSecondary)
		d.last = now
		d.followSecondary()
	case !service.IsValid():
		d.end("the service port is not qualified any more")
	case d.stage == silent:
		d.stage, d.service, d.sent = testing, service, 0
		d.sendBubble(now, fromService)
	case d.sent < bubbles:
		d.service = service
		d.sendBubble(now, fromService)
	default:
		d.failed(now, fromSecondary)
	}
}

// followSecondary goes on when the secondary port has its answer, or will have none.
func (d *Determination) followSecondary() {
	switch {
	case d.secondary.state == Offline:
		d.end(d.secondary.failure)
	case d.secondary.exchange.waiting():
	default:
		d.stage = silent
		d.keepSilent()
	}
}

// keepSilent begins the silence at the last interaction (step 1).
func (d *Determination) keepSilent() { d.wake = d.last.Add(d.candidate) }

// sendBubble sends a bubble from the service port to the secondary address (step 2). It goes through the server, for a
// direct one would test hairpinning instead of the age of the mapping.
func (d *Determination) sendBubble(now time.Time, out *teredo.Outbox) {
	d.sent++
	d.wake = now.Add(bubbleTimeout)
	out.Send(d.secondary.primary, teredo.AppendBubble(out.Next(), d.service, d.secondary.address.Addr(), teredo.DefaultHopLimit))
}

// isBubble recognises the bubble that was sent. Its two addresses have random bits, so nobody forges it blindly.
func (d *Determination) isBubble(from netip.AddrPort, p *teredo.Packet) bool {
	return from == d.secondary.primary && teredo.IsBubble(p.IPv6) &&
		teredo.Source(p.IPv6) == d.service && teredo.Destination(p.IPv6) == d.secondary.address.Addr()
}

// succeeded is step 4. Section 5.2.7 has no end for candidates that always succeed; they would approach the maximum for ever.
func (d *Determination) succeeded(now time.Time, out *teredo.Outbox) {
	d.interval = d.candidate
	d.candidate = min(2*d.interval, (d.interval+d.maximum)/2)
	if d.candidate-d.interval < precision {
		d.end("")
		return
	}
	d.maintain(now, out)
}

// failed is step 5.
func (d *Determination) failed(now time.Time, out *teredo.Outbox) {
	d.maximum = d.candidate
	if 4*d.interval >= 3*d.maximum {
		d.end("")
		return
	}
	d.candidate = (d.interval + d.maximum) / 2
	d.maintain(now, out)
}

// maintain asks the server from the secondary port (step 6). That renews the mapping, or makes a new one.
func (d *Determination) maintain(now time.Time, out *teredo.Outbox) {
	d.stage = asking
	d.secondary.solicit(now, d.secondary.primary, out)
	d.last = now
}

func (d *Determination) end(failure string) { d.stage, d.failure = ended, failure }

// Interval returns the longest refresh interval that has passed the test so far, DefaultInterval at first.
func (d *Determination) Interval() time.Duration { return d.interval }

// Ended reports whether the procedure has ended.
func (d *Determination) Ended() bool { return d.stage == ended }

// Progress describes the progress in a few words: "determining (candidate 45s)".
func (d *Determination) Progress() string {
	switch {
	case d.stage == ended && d.failure != "":
		return "ended early: " + d.failure
	case d.stage == ended:
		return "determined"
	case d.secondary.state == Starting:
		return "determining (qualifying the secondary port)"
	}
	return fmt.Sprintf("determining (candidate %v)", d.candidate.Round(100*time.Millisecond))
}
