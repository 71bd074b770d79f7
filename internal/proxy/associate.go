package proxy

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/things-go/go-socks5/statute"
)

const (
	mostTargets = 256 // of one UDP association whose answers are let through
	mostNames   = 64  // of one UDP association that are remembered
	nameMemory  = 30 * time.Second
)

// association is a UDP association (RFC 1928 §7). It lasts as long as the TCP connection that asked for it.
type association struct {
	proxy   *Proxy
	inside  *net.UDPConn   // toward the client
	outside net.PacketConn // toward targets
	host    netip.Addr     // of the client
	client  atomic.Pointer[netip.AddrPort]

	mu      sync.Mutex
	targets map[netip.AddrPort]struct{}

	names map[string]resolved // of the goroutine that reads from the client
}

// resolved is what a name stands for.
type resolved struct {
	addr  netip.Addr
	until time.Time
}

// associate serves an association until the client closes the connection c. port is the client's UDP port if it has told one.
func (p *Proxy) associate(c net.Conn, port uint16) {
	end, err := p.begin(SOCKSUDP, netip.Addr{})
	if err != nil {
		p.denied(c, "socks_udp", err)
		return
	}
	defer end()
	defer c.Close()
	a, err := p.newAssociation(c, port)
	if err != nil {
		p.denied(c, "socks_udp", err)
		return
	}
	var tasks sync.WaitGroup
	for _, direction := range []func(){a.outward, a.inward} {
		tasks.Go(func() {
			defer c.Close()
			direction()
		})
	}
	stop := context.AfterFunc(p.ctx, func() { c.Close() })
	if reply(c, statute.RepSuccess, endpointOf(a.inside.LocalAddr())) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c, 1<<10)) // nothing is to come but the end
	}
	stop()
	a.inside.Close()
	a.outside.Close()
	tasks.Wait()
}

// newAssociation opens the sockets of an association. The client sends to the address to which it connected.
func (p *Proxy) newAssociation(c net.Conn, port uint16) (*association, error) {
	local, _ := c.LocalAddr().(*net.TCPAddr)
	inside, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone})
	if err != nil {
		return nil, err
	}
	outside, err := p.network.ListenPacket("udp6", "[::]:0")
	if err != nil {
		inside.Close()
		return nil, err
	}
	a := &association{
		proxy: p, inside: inside, outside: outside, host: addrOf(c.RemoteAddr()),
		targets: make(map[netip.AddrPort]struct{}), names: make(map[string]resolved),
	}
	if port != 0 {
		a.client.Store(new(netip.AddrPortFrom(a.host, port)))
	}
	return a, nil
}

// outward carries the client's datagrams.
func (a *association) outward() {
	buffer := make([]byte, mostDatagram+1)
	for {
		n, from, err := a.inside.ReadFromUDPAddrPort(buffer)
		switch {
		case err != nil && !isPassing(err):
			return
		case err != nil, n > mostDatagram:
			continue
		case !a.isClient(netip.AddrPortFrom(from.Addr().Unmap(), from.Port())):
			a.proxy.counts.refuse(ReasonClient)
			continue
		}
		if err := a.send(buffer[:n]); err != nil {
			a.proxy.refused("socks_udp", a.inside.LocalAddr(), err)
		}
	}
}

// isClient reports whether a datagram is from the client: from the host that asked for the association, and from the port that the
// client has told, or that the first datagram came from.
func (a *association) isClient(from netip.AddrPort) bool {
	if from.Addr() != a.host {
		return false
	}
	a.client.CompareAndSwap(nil, &from)
	return *a.client.Load() == from
}

// send sends a datagram of the client to its target.
func (a *association) send(b []byte) error {
	d, err := statute.ParseDatagram(b)
	switch {
	case err != nil:
		return &refusal{ReasonProtocol, err}
	case d.Frag != 0:
		return refuse(ReasonProtocol, "the client sends fragments, which proxies need not put together (RFC 1928 §7)")
	case d.DstAddr.Port == 0:
		return refuse(ReasonTarget, "port 0 is not a port")
	}
	addr, err := a.resolve(hostOf(&d.DstAddr))
	if err != nil {
		return err
	}
	to := netip.AddrPortFrom(addr, uint16(d.DstAddr.Port))
	a.remember(to)
	n, err := a.outside.WriteTo(d.Data, net.UDPAddrFromAddrPort(to))
	if err == nil {
		a.proxy.counts.sent.Add(uint64(n))
	}
	return err
}

// resolve returns an address of a host that may be sent to. It remembers names for a while, as each datagram has one.
func (a *association) resolve(host string) (netip.Addr, error) {
	now := time.Now()
	if known, ok := a.names[host]; ok && now.Before(known.until) {
		return known.addr, nil
	}
	addrs, err := a.proxy.addresses(a.proxy.ctx, host)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(a.names) >= mostNames {
		clear(a.names)
	}
	a.names[host] = resolved{addrs[0], now.Add(nameMemory)}
	return addrs[0], nil
}

// remember lets answers of a target through.
func (a *association) remember(target netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.targets[target]; !known && len(a.targets) >= mostTargets {
		for some := range a.targets {
			delete(a.targets, some)
			break
		}
	}
	a.targets[target] = struct{}{}
}

func (a *association) knows(target netip.AddrPort) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.targets[target]
	return ok
}

// inward carries answers to the client.
func (a *association) inward() {
	buffer := make([]byte, mostDatagram+1)
	for {
		n, from, err := a.outside.ReadFrom(buffer)
		switch {
		case err != nil && !isPassing(err):
			return
		case err != nil, n > mostDatagram:
			continue
		}
		source, client := endpointOf(from), a.client.Load()
		if client == nil || !a.knows(source) {
			continue
		}
		d := statute.Datagram{DstAddr: addrSpec(source), Data: buffer[:n]}
		if _, err := a.inside.WriteToUDPAddrPort(d.Bytes(), *client); err == nil {
			a.proxy.counts.received.Add(uint64(n))
		}
	}
}
