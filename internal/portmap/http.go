package portmap

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
)

const (
	longestHeader = 16 << 10 // bytes
	longestBody   = 64 << 10 // bytes; descriptions of gateways have about 5000
)

// client returns an HTTP client that connects only to the gateway, whatever address a URL has: the URLs come from descriptions,
// which could name any host. It does not follow redirections, use proxies or keep connections.
func (g gateway) client() *http.Client {
	dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(g.internal.Addr(), 0))}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: bounded{&http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				return dialer.DialContext(ctx, "tcp4", net.JoinHostPort(g.addr.String(), port))
			},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: longestHeader,
		}},
	}
}

// bounded is a transport for plain HTTP that cuts bodies that are too long.
type bounded struct{ transport http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "http" {
		return nil, fmt.Errorf("the gateway's URL has the scheme %q, but only http is supported", clip(r.URL.Scheme))
	}
	response, err := b.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body := response.Body
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, longestBody), body}
	return response, nil
}
