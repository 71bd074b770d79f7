// Package netstack is an IPv6 host in user space: a tunnel.Device with a TCP/IP stack behind it (gVisor's), and the connections
// and listeners of that stack with the interfaces and errors of package net. It needs no privileges.
package netstack

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// ErrAddressChanged is the cause of errors of a connection whose local address this host has lost to another one.
// It is also syscall.ENETUNREACH to errors.Is.
var ErrAddressChanged error = addressChanged{}

type addressChanged struct{}

func (addressChanged) Error() string { return "this host has another IPv6 address now" }
func (addressChanged) Unwrap() error { return syscall.ENETUNREACH }

// nic is the number of the only interface.
const nic tcpip.NICID = 1

// Sizes of TCP's buffers in bytes. A buffer without data takes no memory. The first size is what a peer may send before the
// application reads, until the stack has seen how fast the path and the application are.
const (
	minBuffer         = 4 << 10
	initialReceive    = 256 << 10
	mostReceive       = 4 << 20
	initialSend       = 256 << 10
	mostSend          = 4 << 20
	datagramsReceive  = 256 << 10 // of UDP
	synRetries        = 5         // a SYN gets no answer for 63 s at most
	keepAliveInterval = 15 * time.Second
)

// Stack is an IPv6 host with one interface and at most one address at a time. It is a tunnel.Device, too.
type Stack struct {
	*link
	stack   *stack.Stack
	closing sync.Once

	mu      sync.Mutex
	address netip.Addr // the latest that is not zero
	usable  bool       // the host has it now
	closed  bool
	open    map[*endpoint]bool // true: bound to the address
}

// New makes a host without an address. Packets are at most mtu bytes long. Close ends it.
func New(mtu int) (*Stack, error) {
	s := &Stack{link: newLink(uint32(mtu)), open: make(map[*endpoint]bool)}
	s.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol6},
		HandleLocal:        true,
	})
	if err := s.configure(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// configure sets the stack's options up.
func (s *Stack) configure() error {
	if err := s.stack.CreateNIC(nic, s.link); err != nil {
		return fmt.Errorf("make the interface: %v", err)
	}
	s.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv6EmptySubnet, NIC: nic}})
	sack, moderate, congestion := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true), tcpip.CongestionControlOption("cubic")
	recovery := tcpip.TCPRecovery(0) // gVisor's RACK takes parts of a super-packet for lost, and slows down
	retries := tcpip.TCPSynRetriesOption(synRetries)
	reuse := tcpip.TCPTimeWaitReuseGlobal // after a second, as Linux does: a busy proxy would run out of ports
	for _, option := range []tcpip.SettableTransportProtocolOption{
		&sack, &recovery, &moderate, &congestion, &retries, &reuse,
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: minBuffer, Default: initialReceive, Max: mostReceive},
		&tcpip.TCPSendBufferSizeRangeOption{Min: minBuffer, Default: initialSend, Max: mostSend},
	} {
		if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("set %T: %v", option, err)
		}
	}
	return nil
}

// SetAddress gives the host an address in place of the one that it had. Connections of another address than this one end with
// ErrAddressChanged. With the zero Addr the host has no address for now: connections wait for it to come back.
func (s *Stack) SetAddress(address netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usable = address.IsValid()
	if !s.usable || address == s.address {
		return nil
	}
	if err := s.stack.AddProtocolAddress(nic, protocolAddress(address), stack.AddressProperties{}); err != nil {
		s.usable = false
		return fmt.Errorf("set the address: %v", err)
	}
	if s.address.IsValid() {
		for e, bound := range s.open {
			if bound {
				e.fail(ErrAddressChanged)
			}
		}
		_ = s.stack.RemoveAddress(nic, tcpip.AddrFrom16(s.address.As16())) // it is there
	}
	s.address = address
	return nil
}

func protocolAddress(a netip.Addr) tcpip.ProtocolAddress {
	return tcpip.ProtocolAddress{
		Protocol:          ipv6.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom16(a.As16()), PrefixLen: 128},
	}
}

// Addr is the host's address, the zero Addr while it has none.
func (s *Stack) Addr() netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.usable {
		return netip.Addr{}
	}
	return s.address
}

// Close ends all connections and listeners, and waits until the stack has ended.
func (s *Stack) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		for e := range s.open {
			e.fail(net.ErrClosed)
		}
		s.mu.Unlock()
		s.link.close()
		s.stack.Close()
		s.stack.Wait()
	})
	return nil
}
