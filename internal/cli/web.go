//go:build !small

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"syscall"

	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/succession"
	"github.com/teredo-suite/teredo/internal/web"
)

// WebFlags say where a program tells machines and browsers what it does, and whom. RunFlags has them.
type WebFlags struct {
	Web          WebAddress `name:"web" placeholder:"ADDRESS:PORT" help:"Serve a page for browsers, metrics, health and status over HTTP at this address, such as 127.0.0.1:9544. Off by default. An address that other hosts reach takes --web-token-file."`
	WebTokenFile string     `name:"web-token-file" placeholder:"FILE" help:"Answer only those that send the token in this file, mode 600, as a bearer token or as a password. Without it peers and the log are told to nobody."`
	WebCert      string     `name:"web-cert" placeholder:"FILE" help:"Serve HTTPS with the certificate chain in this PEM file. It is read at the start."`
	WebKey       string     `name:"web-key" placeholder:"FILE" help:"The key of the certificate, in PEM."`
	WebHost      []string   `name:"web-host" placeholder:"NAME,…" help:"Answer also to requests for these names or addresses. The others are localhost and the address that a request came to."`
}

// WebAddress is a flag that holds an address and port. The zero value (not IsValid) means that it was not given.
type WebAddress struct{ netip.AddrPort }

// UnmarshalText parses an address and port.
func (a *WebAddress) UnmarshalText(text []byte) error {
	at, err := netip.ParseAddrPort(string(text))
	if err != nil {
		return fmt.Errorf("%q is not an address and port, such as 127.0.0.1:9544", text)
	}
	a.AddrPort = at
	return nil
}

// listenWeb opens the web address that --web asks for. Nil: it asks for none.
func (f *WebFlags) listenWeb(inherited *succession.Inheritance, log *slog.Logger) (*web.Site, error) {
	listener, err := inherited.Listener(webSocket + f.Web.String())
	switch {
	case err != nil:
		return nil, err
	case !f.Web.IsValid() && (f.WebTokenFile != "" || f.WebCert != "" || f.WebKey != "" || len(f.WebHost) > 0):
		return nil, Usage(errors.New("--web-token-file, --web-cert, --web-key and --web-host are for --web, which is not given"))
	case !f.Web.IsValid():
		return nil, nil
	case (f.WebCert == "") != (f.WebKey == ""):
		return nil, Usage(errors.New("--web-cert and --web-key go together: give both or none"))
	}
	site, err := web.Listen(web.Config{
		Address: f.Web.AddrPort, Listener: listener, TokenFile: f.WebTokenFile, CertFile: f.WebCert, KeyFile: f.WebKey, Hosts: f.WebHost,
	})
	switch {
	case errors.Is(err, web.ErrNeedsToken):
		return nil, Usage(fmt.Errorf("--web %v: %w: give --web-token-file, or use 127.0.0.1 or [::1]", f.Web, err))
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("--web %v: another program uses this address and port: choose another port", f.Web)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("--web %v: no interface of this host has this address: choose one that it has", f.Web)
	case err != nil:
		return nil, Usage(fmt.Errorf("--web %v: %w", f.Web, err))
	}
	if !f.Web.Addr().IsLoopback() && f.WebCert == "" {
		log.Warn("the token and the answers of the web address cross the network in the clear: give --web-cert and --web-key", "address", site.Addr())
	}
	log.Info("serving metrics and status", "address", site.Addr())
	return site, nil
}

// giveWeb gives the listening socket of a site, if there is one, to a new process.
func (f *WebFlags) giveWeb(g *succession.Giver, site *web.Site) {
	if site != nil {
		giveListener(g, webSocket+f.Web.String(), site.Listener())
	}
}

// serveWeb answers on the web address until ctx ends.
func serveWeb[T any](ctx context.Context, site *web.Site, role string, state *State[T], questions map[string]control.Question, log func(uint64) ([]string, uint64)) error {
	return site.Serve(ctx, web.Program{
		Name: role, Version: built(), Peers: questions["peers"].Answer,
		Traffic: questions["traffic"].Answer, Ping: questions["ping"].Do, Log: log,
		Status: func(ctx context.Context) (web.Status, error) {
			status, answered := state.tell(ctx)
			return web.Status{Value: status, Ready: state.ready(status), Answered: answered}, nil
		},
	})
}
