package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/things-go/go-socks5/statute"
)

// serveSOCKS serves a client of SOCKS version 5 (RFC 1928). The wire format is that of a library. Its server is not used: it has no
// time-outs, no bounds for UDP associations, does not compare their clients with those that asked for them, and loses half-closes.
func (p *Proxy) serveSOCKS(c net.Conn) {
	request, err := p.negotiate(c)
	if errors.Is(err, net.ErrClosed) { // it gave way to a newer one, which is counted
		return
	}
	if err != nil {
		p.refused("socks", c.RemoteAddr(), err)
		c.Close()
		return
	}
	switch request.Command {
	case statute.CommandConnect:
		p.connect(c, &request.DstAddr)
	case statute.CommandAssociate:
		p.associate(c, uint16(request.DstAddr.Port))
	default:
		p.refused("socks", c.RemoteAddr(), refuse(ReasonCommand, fmt.Sprintf("command %d", request.Command)))
		reply(c, statute.RepCommandNotSupported, netip.AddrPort{})
		c.Close()
	}
}

// negotiate reads what a client asks for, within the time that it has.
func (p *Proxy) negotiate(c net.Conn) (request statute.Request, err error) {
	p.handshakes.begin(c)
	defer p.handshakes.end(c)
	_ = c.SetDeadline(time.Now().Add(handshakeTimeout)) // fails only when the connection is closed
	if err := p.authenticate(c); err != nil {
		return request, err
	}
	request, err = statute.ParseRequest(c)
	switch {
	case errors.Is(err, statute.ErrUnrecognizedAddrType):
		reply(c, statute.RepAddrTypeNotSupported, netip.AddrPort{})
		return request, &refusal{ReasonProtocol, err}
	case err != nil:
		return request, &refusal{ReasonProtocol, err}
	}
	return request, c.SetDeadline(time.Time{})
}

// authenticate agrees on a method with the client, and checks its user and password (RFC 1929) if it must have them.
func (p *Proxy) authenticate(c net.Conn) error {
	offer, err := statute.ParseMethodRequest(c)
	switch {
	case err != nil:
		return &refusal{ReasonProtocol, err}
	case offer.Ver != statute.VersionSocks5:
		return refuse(ReasonProtocol, fmt.Sprintf("SOCKS version %d", offer.Ver))
	}
	method := byte(statute.MethodNoAuth)
	if p.asksPassword() {
		method = statute.MethodUserPassAuth
	}
	offered := false
	for _, m := range offer.Methods {
		offered = offered || m == method
	}
	if !offered {
		_, _ = c.Write([]byte{statute.VersionSocks5, statute.MethodNoAcceptable}) // it is closed anyhow
		return refuse(ReasonCredentials, "the client does not offer the method that the proxy asks for")
	}
	if _, err := c.Write([]byte{statute.VersionSocks5, method}); err != nil || method == statute.MethodNoAuth {
		return err
	}
	given, err := statute.ParseUserPassRequest(c)
	if err != nil {
		return &refusal{ReasonProtocol, err}
	}
	if err := p.allows(c.RemoteAddr(), string(given.User), string(given.Pass)); err != nil {
		_, _ = c.Write([]byte{statute.UserPassAuthVersion, statute.AuthFailure})
		return err
	}
	_, err = c.Write([]byte{statute.UserPassAuthVersion, statute.AuthSuccess})
	return err
}

// connect connects a client with the target that it names.
func (p *Proxy) connect(c net.Conn, to *statute.AddrSpec) {
	end, err := p.begin(SOCKS, netip.Addr{})
	if err != nil {
		p.denied(c, "socks", err)
		return
	}
	out, err := p.dial(p.ctx, hostOf(to), uint16(to.Port))
	switch {
	case err != nil:
		p.denied(c, "socks", err)
		end()
	case reply(c, statute.RepSuccess, endpointOf(out.LocalAddr())) != nil:
		c.Close()
		reset(out)
		end()
	default:
		p.relay(c, out, end)
	}
}

// denied answers a request that was not done, and closes the connection.
func (p *Proxy) denied(c net.Conn, what string, err error) {
	reply(c, replyCode(p.refused(what, c.RemoteAddr(), err), err), netip.AddrPort{})
	c.Close()
}

// hostOf is the name or address in a request. An IPv4-mapped address becomes an IPv4 one.
func hostOf(to *statute.AddrSpec) string {
	if to.FQDN != "" {
		return to.FQDN
	}
	a, _ := netip.AddrFromSlice(to.IP)
	if to.AddrType == statute.ATYPIPv4 {
		a = a.Unmap()
	}
	return a.String()
}

// reply answers a request (RFC 1928 §6).
func reply(c io.Writer, code byte, bound netip.AddrPort) error {
	spec := statute.AddrSpec{AddrType: statute.ATYPIPv4, IP: net.IPv4zero}
	if bound.IsValid() {
		spec = addrSpec(bound)
	}
	_, err := c.Write(statute.Reply{Version: statute.VersionSocks5, Response: code, BndAddr: spec}.Bytes())
	return err
}

func addrSpec(a netip.AddrPort) statute.AddrSpec {
	kind := statute.ATYPIPv6
	if a.Addr().Is4() {
		kind = statute.ATYPIPv4
	}
	return statute.AddrSpec{AddrType: kind, IP: a.Addr().AsSlice(), Port: int(a.Port())}
}

// replyCode is the reply for a request that was not done.
func replyCode(reason Reason, err error) byte {
	switch {
	case reason == ReasonTarget:
		return statute.RepRuleFailure
	case reason == ReasonName, reason == ReasonNoIPv6, errors.Is(err, syscall.EHOSTUNREACH):
		return statute.RepHostUnreachable
	case reason == ReasonTimeout:
		return statute.RepTTLExpired
	case errors.Is(err, syscall.ECONNREFUSED):
		return statute.RepConnectionRefused
	case reason == ReasonConnect, reason == ReasonOffline:
		return statute.RepNetworkUnreachable
	}
	return statute.RepServerFailure
}
