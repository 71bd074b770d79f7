package qualify

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// orCrypto is crypto/rand where no other source of random bytes is given.
func orCrypto(fill func([]byte)) func([]byte) {
	if fill == nil {
		return func(b []byte) { rand.Read(b) } // never fails
	}
	return fill
}

// flags draws the flags of a Teredo address: 12 random bits (RFC 5991 §3.1), and the cone bit.
func (m *Machine) flags() uint16 {
	var b [2]byte
	m.cfg.Rand(b[:])
	flags := binary.BigEndian.Uint16(b[:]) & teredo.FlagRandomMask
	if m.cone {
		flags |= teredo.FlagCone
	}
	return flags
}

// refreshInterval draws the randomised refresh interval: 75 to 100 % of the interval (RFC 4380 §5.2).
func (m *Machine) refreshInterval() time.Duration {
	return m.uniform(m.cfg.Interval-m.cfg.Interval/4, m.cfg.Interval)
}

// backoff draws the wait before the next qualification: 5..10 s at first, then twice as long after each failure, up to
// 150..300 s. The random half keeps clients apart that lost the same server at the same moment.
func (m *Machine) backoff() time.Duration {
	doublings := min(m.failures, 6) // 6 reach the maximum
	longest := min(2*minBackoff<<doublings, maxBackoff)
	return m.uniform(longest/2, longest)
}

// patience draws the wait before a silent server is asked again: 4 to 4.8 s, so that a client is back within 5 s of its server.
// After 17 minutes of silence it grows with the silence, up to 300 s, for the server may never come back. The random part
// spreads the clients of one server.
func (m *Machine) patience(now time.Time) time.Duration {
	shortest := min(max(timeout, now.Sub(m.silentSince)/silenceShare), maxBackoff*5/6)
	return m.uniform(shortest, shortest+shortest/5)
}

// uniform draws a duration from low to high, both included.
func (m *Machine) uniform(low, high time.Duration) time.Duration {
	var b [8]byte
	m.cfg.Rand(b[:])
	span := uint64(high-low) + 1
	return low + time.Duration(binary.BigEndian.Uint64(b[:])%span)
}
