package proxy

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// Kind is the way in which a connection came to the proxy.
type Kind uint8

const (
	SOCKS      Kind = iota // a CONNECT command of SOCKS5
	SOCKSUDP               // a UDP association of SOCKS5
	HTTP                   // a request to the HTTP proxy, also CONNECT
	Forward                // a TCP connection to a fixed IPv6 service
	ForwardUDP             // the datagrams of one local client to a fixed IPv6 service
	Publish                // a TCP connection from the IPv6 Internet
	PublishUDP             // the datagrams of one host of the IPv6 Internet
	kinds
)

func (k Kind) String() string {
	return [kinds]string{"socks", "socks_udp", "http", "forward", "forward_udp", "publish", "publish_udp"}[k]
}

// Kinds are the names of all kinds.
func Kinds() []string { return names(kinds) }

// Reason says why the proxy has not done what somebody asked for.
type Reason uint8

const (
	ReasonTarget            Reason = iota // the target is in a range that is not open
	ReasonNoIPv6                          // the name has no IPv6 address
	ReasonName                            // the name could not be resolved
	ReasonOffline                         // there is no IPv6 now
	ReasonConnect                         // the target refused the connection, or there is no way to it
	ReasonTimeout                         // the target did not answer in time
	ReasonCredentials                     // no user and password, or wrong ones
	ReasonAttempts                        // too many wrong passwords from one address
	ReasonSource                          // the source is not in the allow list of published services
	ReasonConnections                     // as many connections as the proxy can have
	ReasonSourceConnections               // as many connections as one source can have
	ReasonHandshakes                      // a connection without a request gave way to newer ones
	ReasonProtocol                        // what came is not the protocol of the port, or came too slowly
	ReasonCommand                         // a command that the proxy does not have
	ReasonClient                          // a datagram from another host than the client of the UDP association
	ReasonIdle                            // nothing moved for too long
	reasons
)

func (r Reason) String() string {
	return [reasons]string{
		"target", "no_ipv6", "name", "offline", "connect", "timeout", "credentials", "attempts", "source", "connections", "source_connections",
		"handshakes", "protocol", "command", "client", "idle",
	}[r]
}

// Reasons are the names of all reasons.
func Reasons() []string { return names(reasons) }

// names are the names of a count of values.
func names[T interface {
	~uint8
	String() string
}](count T) (all []string) {
	for v := range count {
		all = append(all, v.String())
	}
	return all
}

// refusal is an error with its reason.
type refusal struct {
	reason Reason
	cause  error
}

func (r *refusal) Error() string { return r.cause.Error() }
func (r *refusal) Unwrap() error { return r.cause }

// refuse makes a refusal.
func refuse(reason Reason, cause string) error { return &refusal{reason, errors.New(cause)} }

// reasonOf is the reason of an error of dial.
func reasonOf(err error) Reason {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.reason
	}
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		return ReasonTimeout
	}
	return ReasonConnect
}

// counts are what the status tells in numbers.
type counts struct {
	now     [kinds]atomic.Int64
	total   [kinds]atomic.Uint64
	refused [reasons]atomic.Uint64

	sent, received atomic.Uint64 // bytes to and from the IPv6 Internet
}

func (c *counts) refuse(r Reason) { c.refused[r].Add(1) }

// Status is what a proxy has to do.
type Status struct {
	Listeners     []string          `json:"listeners"`         // what it serves, and where
	Connections   map[string]int64  `json:"connections"`       // now, by kind
	Total         map[string]uint64 `json:"connections_total"` // since the start, by kind
	Refused       map[string]uint64 `json:"refused"`           // by reason
	SentBytes     uint64            `json:"sent_bytes"`        // to the IPv6 Internet
	ReceivedBytes uint64            `json:"received_bytes"`    // from there
}

// Status tells what the proxy does now. Counts that are zero are left out.
func (p *Proxy) Status() Status {
	s := Status{
		Listeners: p.Listeners(), Connections: make(map[string]int64), Total: make(map[string]uint64), Refused: make(map[string]uint64),
		SentBytes: p.counts.sent.Load(), ReceivedBytes: p.counts.received.Load(),
	}
	for k := range kinds {
		if n := p.counts.total[k].Load(); n > 0 {
			s.Total[k.String()] = n
			s.Connections[k.String()] = p.counts.now[k].Load()
		}
	}
	for r := range reasons {
		if n := p.counts.refused[r].Load(); n > 0 {
			s.Refused[r.String()] = n
		}
	}
	return s
}

// carried counts bytes that came from the IPv6 Internet, or went there.
func (c *counts) carried(inward bool, bytes int) {
	if inward {
		c.received.Add(uint64(bytes))
	} else {
		c.sent.Add(uint64(bytes))
	}
}
