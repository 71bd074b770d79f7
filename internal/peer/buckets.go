package peer

import (
	"math/bits"
	"sync/atomic"
)

// placesPerBucket is how many peers one line of the cache has room for.
const placesPerBucket = 6

// bucket has the peers whose hash has the same upper bits. It fills one line of the cache, so that a look-up with very many peers
// waits for memory twice: for the bucket, and for the one peer in it whose mark is that of the address.
//
// The control goroutine alone changes it. A worker may see the mark of a peer whose place another one has by now, so it compares the
// address.
type bucket struct {
	marks atomic.Uint64 // a byte for each place, see markOf; zero: it is free
	peers [placesPerBucket]atomic.Pointer[Peer]
	more  atomic.Pointer[bucket] // for those that found no place
}

const (
	everyByte  = 0x0101010101010101
	everyPlace = 1<<(8*placesPerBucket) - 1
	marked     = 0x80 // this bit of a mark is set, so that it is not zero
)

// mixer is 2^64 divided by the golden ratio, made odd. Multiplied with it, every bit of a hash counts for the upper ones,
// which number the bucket: after one multiplication by an unlucky seed they may be much alike.
const mixer = 0x9e3779b97f4a7c15

// bucket returns the bucket of an address, and the address's mark there.
func (t *Table) bucket(k key) (b *bucket, mark uint64) {
	hi, lo := bits.Mul64(k.hi^t.seed[0], k.lo^t.seed[1])
	hash := (hi ^ lo) * mixer
	return &t.buckets[hash>>t.shift], hash>>(t.shift-7)&(marked-1) | marked
}

// candidates has the highest bit of the byte of each place with the mark; seldom also that of another place with a peer.
func candidates(marks, mark uint64) uint64 {
	different := marks ^ mark*everyByte
	return (different - everyByte) &^ different & (marked * everyByte)
}

func (t *Table) lookup(k key) *Peer {
	b, mark := t.bucket(k)
	for ; b != nil; b = b.more.Load() {
		for c := candidates(b.marks.Load(), mark); c != 0; c &= c - 1 {
			if p := b.peers[bits.TrailingZeros64(c)/8].Load(); p != nil && p.key == k {
				return p
			}
		}
	}
	return nil
}

func (t *Table) insert(p *Peer) {
	b, mark := t.bucket(p.key)
	for {
		marks := b.marks.Load()
		if free := ^marks & (marked * everyByte) & everyPlace; free != 0 {
			place := bits.TrailingZeros64(free) / 8
			b.peers[place].Store(p)
			b.marks.Store(marks | mark<<(8*place))
			return
		}
		if b.more.Load() == nil {
			b.more.Store(new(bucket))
		}
		b = b.more.Load()
	}
}

func (t *Table) unlink(p *Peer) {
	first, _ := t.bucket(p.key)
	for before, b := first, first; b != nil; before, b = b, b.more.Load() {
		for place := range b.peers {
			if b.peers[place].Load() != p {
				continue
			}
			b.marks.And(^(uint64(0xff) << (8 * place)))
			b.peers[place].Store(nil)
			if b != first && b.marks.Load() == 0 {
				before.more.Store(b.more.Load())
			}
			return
		}
	}
}

// all yields each peer of the bucket.
func (b *bucket) all(yield func(*Peer) bool) {
	for ; b != nil; b = b.more.Load() {
		for place := range b.peers {
			if p := b.peers[place].Load(); p != nil && !yield(p) {
				return
			}
		}
	}
}

// Warm has the processor fetch the entries of addresses, of 16 bytes each, that are about to be looked up. With very many
// peers each of them has to come from memory. First the buckets come, and then the entries; no fetch depends on another one of its
// kind, so the processor does many at a time.
func (t *Table) Warm(addresses [][]byte) {
	var buckets [64]*bucket
	var marks [len(buckets)]uint64
	for len(addresses) > 0 {
		n := min(len(addresses), len(buckets))
		for i, a := range addresses[:n] {
			buckets[i], marks[i] = t.bucket(keyAt(a))
			buckets[i].marks.Load()
		}
		for i, b := range buckets[:n] {
			if c := candidates(b.marks.Load(), marks[i]); c != 0 {
				if p := b.peers[bits.TrailingZeros64(c)/8].Load(); p != nil {
					atomic.LoadUint64(&p.hi)
					p.receivedBytes.Load() // it may be in the next line of the cache
				}
			}
		}
		addresses = addresses[n:]
	}
}
