// Package budget bounds what strangers can cause: so many events a second for each key, such as an IPv4 address, and in all.
//
// A budget is a token bucket, kept as the moment at which it is full again (the virtual scheduling form of the generic cell rate
// algorithm). A Keyed budget has a fixed number of buckets, whatever strangers send. Nothing here reads a clock, allocates or locks;
// any number of goroutines may use it.
package budget

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"time"
	"unsafe"
)

// Rate is how much a bucket gives: Burst events at once, and PerSecond in the long run.
type Rate struct {
	PerSecond, Burst int
}

// Interval is the time that one event costs, in nanoseconds.
func (r Rate) Interval() int64 { return int64(time.Second) / int64(r.PerSecond) }

// Half is a rate with half the burst. Who asks a bucket for it leaves the other half to others.
func (r Rate) Half() Rate { return Rate{r.PerSecond, r.Burst / 2} }

// Bucket is one token bucket. The zero value is full.
type Bucket struct{ full atomic.Int64 } // when it is full again, in nanoseconds since the caller's epoch

// Allow takes n events out of the bucket and reports whether it had as many. now is in nanoseconds since any epoch, which must
// stay the same.
func (b *Bucket) Allow(now int64, r Rate, n int) bool {
	cost, most := int64(n)*r.Interval(), int64(r.Burst)*r.Interval()
	for {
		was := b.full.Load()
		full := max(was, now) + cost
		if full-now > most {
			return false
		}
		if b.full.CompareAndSwap(was, full) {
			return true
		}
	}
}

// Return gives n events back that turned out to be harmless.
func (b *Bucket) Return(r Rate, n int) { b.full.Add(-int64(n) * r.Interval()) }

// ways is how many buckets a key may have.
const ways = 4

// Keyed is a bucket for each of many keys. When more keys come than it has buckets, the one that is nearest to full makes room: that of
// a key which has used little. So a flood of keys costs those that use their budget least, and not more than that.
type Keyed struct {
	rate  Rate
	seed  uint64
	shift int // 64 less the bits of a set's number
	sets  [][ways]entry
}

type entry struct {
	key atomic.Uint64
	Bucket
}

// NewKeyed returns a budget with buckets for about size keys, 16 bytes each. Nobody can choose keys that share their buckets: which do
// is random.
func NewKeyed(size int, r Rate) *Keyed { return newKeyed(make([][ways]entry, Sets(size)), r) }

// Sets is how many sets of buckets a budget for about size keys has. A set has SetSize bytes.
func Sets(size int) int { return 1 << bits.Len(uint(max(size/ways, 1)-1)) }

// SetSize is the size in bytes of a set of buckets.
const SetSize = int(unsafe.Sizeof([ways]entry{}))

// NewKeyedIn is NewKeyed with the buckets in memory that others use, too. The memory is zero, its address a multiple of 8 and its size
// that of Sets(size) sets. Others find the set of a key by Seed and Shift, as the kernel path's server.c does.
func NewKeyedIn(memory []byte, r Rate) *Keyed {
	return newKeyed(unsafe.Slice((*[ways]entry)(unsafe.Pointer(unsafe.SliceData(memory))), len(memory)/SetSize), r)
}

func newKeyed(sets [][ways]entry, r Rate) *Keyed {
	var seed [8]byte
	rand.Read(seed[:]) // never fails
	return &Keyed{rate: r, seed: binary.NativeEndian.Uint64(seed[:]) | 1, shift: 65 - bits.Len(uint(len(sets))), sets: sets}
}

// Rate is what each bucket gives.
func (k *Keyed) Rate() Rate { return k.rate }

// Seed is the secret that distributes the keys.
func (k *Keyed) Seed() uint64 { return k.seed }

// Shift is 64 less the bits of a set's number.
func (k *Keyed) Shift() int { return k.shift }

// Allow takes one event out of the key's bucket and reports whether it had one. Key 0 is like any other.
func (k *Keyed) Allow(now int64, key uint64) bool { return k.bucket(key).Allow(now, k.rate, 1) }

// AllowAgain is Allow for an event that matters less than others: it leaves half of the burst to them.
func (k *Keyed) AllowAgain(now int64, key uint64) bool {
	return k.bucket(key).Allow(now, k.rate.Half(), 1)
}

// Low reports whether the key has used up more than half of its burst.
func (k *Keyed) Low(now int64, key uint64) bool {
	return k.bucket(key).full.Load()-now > int64(k.rate.Burst)*k.rate.Interval()/2
}

// Return gives the key an event back that turned out to be harmless.
func (k *Keyed) Return(key uint64) { k.bucket(key).Return(k.rate, 1) }

// bucket returns the bucket of a key, making room when it has none.
func (k *Keyed) bucket(key uint64) *Bucket {
	hi, lo := bits.Mul64(key^k.seed, k.seed)
	key = hi ^ lo // stands for the key from here on: two keys that agree in 64 bits share a bucket
	set := &k.sets[key*0x9e3779b97f4a7c15>>k.shift]
	victim := &set[0]
	for i := range set {
		e := &set[i]
		if e.key.Load() == key {
			return &e.Bucket
		}
		if e.full.Load() < victim.full.Load() {
			victim = e
		}
	}
	victim.key.Store(key)
	victim.full.Store(0)
	return &victim.Bucket
}
