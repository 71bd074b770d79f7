package peer

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
)

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
	pathMarks           = pathRefreshing | pathSought
	pathVia             = 56 // shift of the local port: 0 is the service port
)

// pathTo is the trusted path to an endpoint from the local port via.
func pathTo(e endpoint, via uint8) path { return path(e) | path(via)<<pathVia | pathTrusted }

func (w path) endpoint() endpoint { return endpoint(w & (pathTrusted - 1)) }
func (w path) via() uint8         { return uint8(w >> pathVia) }

// atomicWord is a path or a Stamp that goroutines share.
type atomicWord[T ~uint64 | ~int64] struct{ bits atomic.Uint64 }

func (a *atomicWord[T]) Load() T    { return T(a.bits.Load()) }
func (a *atomicWord[T]) Store(w T)  { a.bits.Store(uint64(w)) }
func (a *atomicWord[T]) Swap(w T) T { return T(a.bits.Swap(uint64(w))) }
func (a *atomicWord[T]) CompareAndSwap(old, fresh T) bool {
	return a.bits.CompareAndSwap(uint64(old), uint64(fresh))
}
func (a *atomicWord[T]) And(mask T) { a.bits.And(uint64(mask)) }
func (a *atomicWord[T]) Or(mask T)  { a.bits.Or(uint64(mask)) }
