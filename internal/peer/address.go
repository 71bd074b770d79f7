package peer

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"github.com/teredo-suite/teredo/teredo"
)

// key is an IPv6 address. All 128 bits count: several Teredo addresses can share one mapping (W-ADDR-06).
type key struct{ hi, lo uint64 }

func keyAt(b []byte) key {
	return key{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func keyOf(a netip.Addr) key {
	b := a.As16()
	return keyAt(b[:])
}

// sourceOf and destinationOf read the addresses of an IPv6 packet of at least teredo.HeaderLen bytes.
func sourceOf(ipv6 []byte) key      { return keyAt(ipv6[8:]) }
func destinationOf(ipv6 []byte) key { return keyAt(ipv6[24:]) }

func (k key) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return netip.AddrFrom16(b)
}

func (k key) isTeredo() bool    { return k.hi>>32 == 0x20010000 }
func (k key) isLinkLocal() bool { return k.hi>>54 == 0xfe80>>6 }

// mapped is the mapped address and port in a Teredo address (RFC 4380 §4).
func (k key) mapped() endpoint {
	return endpoint(^uint32(k.lo))<<16 | endpoint(^uint16(k.lo>>32))
}

// server is the endpoint of the server that a Teredo address names.
func (k key) server() endpoint { return endpoint(uint32(k.hi))<<16 | teredo.Port }

// network is what budgets count an address under: the mapped IPv4 address in a Teredo address, the /64 of a native one.
func (k key) network() uint64 {
	if k.isTeredo() {
		return uint64(k.mapped() >> 16)
	}
	return k.hi
}

// endpoint is an IPv4 address and a UDP port in one word; zero: none.
type endpoint uint64

func endpointOf(ap netip.AddrPort) endpoint {
	a := ap.Addr().As4()
	return endpoint(binary.BigEndian.Uint32(a[:]))<<16 | endpoint(ap.Port())
}

func (e endpoint) port() uint16 { return uint16(e) }

func (e endpoint) addr() netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(e>>16))
	return netip.AddrFrom4(a)
}

func (e endpoint) addrPort() netip.AddrPort { return netip.AddrPortFrom(e.addr(), e.port()) }

// path is an endpoint, the local port that leads there, and marks, in one word, so that workers read them together; zero: none.
type path uint64

const (
	pathTrusted    path = 1 << 48 // packets may be sent to and taken from the endpoint
	pathRefreshing path = 1 << 49 // the control goroutine has been asked to refresh the path
	pathSought     path = 1 << 50 // packets of the local side wait for a path
	pathLocal      path = 1 << 51 // the endpoint is that of the peer on our subnet (RFC 4380 §5.2.8)
	pathMarks           = pathRefreshing | pathSought | pathLocal
	pathVia             = 56 // shift of the local port: 0 is the service port
)

// pathTo is the trusted path to an endpoint from the local port via.
func pathTo(e endpoint, via uint8) path { return path(e) | path(via)<<pathVia | pathTrusted }

func (w path) endpoint() endpoint { return endpoint(w & (pathTrusted - 1)) }
func (w path) via() uint8         { return uint8(w >> pathVia) }

// atomicPath is a path that goroutines share.
type atomicPath struct{ word atomic.Uint64 }

func (a *atomicPath) Load() path   { return path(a.word.Load()) }
func (a *atomicPath) Store(w path) { a.word.Store(uint64(w)) }
func (a *atomicPath) CompareAndSwap(old, next path) bool {
	return a.word.CompareAndSwap(uint64(old), uint64(next))
}
func (a *atomicPath) And(mask path) { a.word.And(uint64(mask)) }
func (a *atomicPath) Or(mask path)  { a.word.Or(uint64(mask)) }

// atomicStamp is a Stamp that goroutines share.
type atomicStamp struct{ word atomic.Int64 }

func (a *atomicStamp) Load() Stamp        { return Stamp(a.word.Load()) }
func (a *atomicStamp) Store(s Stamp)      { a.word.Store(int64(s)) }
func (a *atomicStamp) Swap(s Stamp) Stamp { return Stamp(a.word.Swap(int64(s))) }
func (a *atomicStamp) CompareAndSwap(old, next Stamp) bool {
	return a.word.CompareAndSwap(int64(old), int64(next))
}
