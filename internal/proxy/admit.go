package proxy

import (
	"container/list"
	"net"
	"net/netip"
	"sync"

	"github.com/teredo-suite/teredo/teredo"
)

// Limits bound what the proxy holds at once.
type Limits struct {
	Connections int // of all kinds
	PerSource   int // of one source to published services
	Handshakes  int // connections of clients without a request yet
}

// admission counts the connections in use.
type admission struct {
	most    Limits
	mu      sync.Mutex
	all     int
	sources map[netip.Addr]int
}

// enter takes a place for a connection of a source, which is not valid for local clients. leave gives it back.
func (a *admission) enter(source netip.Addr) (leave func(), err error) {
	source = sourceOf(source)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.all >= a.most.Connections:
		return nil, refuse(ReasonConnections, "the proxy has as many connections as it can have: try again later")
	case source.IsValid() && a.sources[source] >= a.most.PerSource:
		return nil, refuse(ReasonSourceConnections, "this source has as many connections as one can have")
	}
	a.all++
	if source.IsValid() {
		a.sources[source]++
	}
	return sync.OnceFunc(func() { a.leave(source) }), nil
}

func (a *admission) leave(source netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	if !source.IsValid() {
		return
	}
	if a.sources[source]--; a.sources[source] == 0 {
		delete(a.sources, source)
	}
}

// sourceOf is what counts as one source: of a Teredo address the mapped IPv4 address, as a host behind it can have 65536 ports; of
// native addresses the /64, of which a host has all addresses.
func sourceOf(a netip.Addr) netip.Addr {
	switch {
	case !a.IsValid():
	case teredo.IsTeredo(a):
		return teredo.Mapped(a).Addr()
	case a.Is6():
		return netip.PrefixFrom(a.WithZone(""), 64).Masked().Addr()
	}
	return a
}

// handshakes are connections of clients that have not said yet what they want, the oldest first. When there are too many, the oldest
// one is closed: those who mean it need a moment only.
type handshakes struct {
	most   int
	counts *counts
	mu     sync.Mutex
	open   list.List // of net.Conn
	places map[net.Conn]*list.Element
}

// begin takes note of a connection.
func (h *handshakes) begin(c net.Conn) {
	h.mu.Lock()
	if _, known := h.places[c]; known { // a connection that is used again
		h.mu.Unlock()
		return
	}
	h.places[c] = h.open.PushBack(c)
	var oldest net.Conn
	if h.open.Len() > h.most {
		oldest = h.open.Remove(h.open.Front()).(net.Conn)
		delete(h.places, oldest)
	}
	h.mu.Unlock()
	if oldest != nil {
		h.counts.refuse(ReasonHandshakes)
		oldest.Close()
	}
}

// end forgets a connection that has a request, or is closed.
func (h *handshakes) end(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if place, ok := h.places[c]; ok {
		h.open.Remove(place)
		delete(h.places, c)
	}
}
