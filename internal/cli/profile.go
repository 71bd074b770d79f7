//go:build !small

package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/succession"
)

// Loopback is a flag that holds a loopback address and port. The zero value (not IsValid) means that it was not given.
type Loopback struct{ netip.AddrPort }

// UnmarshalText parses an address and port.
func (l *Loopback) UnmarshalText(text []byte) error {
	at, err := netip.ParseAddrPort(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("%q is not an address and port, such as 127.0.0.1:6060", text)
	case !at.Addr().IsLoopback():
		return fmt.Errorf("%s is no loopback address, and profiles are for this host alone: use 127.0.0.1 or [::1]", at.Addr())
	}
	l.AddrPort = at
	return nil
}

// ProfileFlags is the flag for profiles. RunFlags has it.
type ProfileFlags struct {
	PProf Loopback `name:"pprof" placeholder:"ADDRESS:PORT" help:"Loopback address, such as 127.0.0.1:6060, at which HTTP serves CPU and heap profiles below /debug/pprof/."`
}

// listenProfiles opens the address of --pprof. Without the flag there is none, nil.
func (f *ProfileFlags) listenProfiles(inherited *succession.Inheritance) (net.Listener, error) {
	if !f.PProf.IsValid() {
		return nil, nil
	}
	listener, err := inherited.Listener(profileSocket + f.PProf.String())
	if listener == nil && err == nil {
		listener, err = net.Listen("tcp", f.PProf.String())
	}
	if err != nil {
		return nil, fmt.Errorf("serve profiles: %w; choose another address with --pprof", err)
	}
	return listener, nil
}

// giveProfiles gives the listening socket, if there is one, to a new process.
func (f *ProfileFlags) giveProfiles(g *succession.Giver, l net.Listener) {
	if l != nil {
		giveListener(g, profileSocket+f.PProf.String(), l)
	}
}

// serveProfiles serves profiles until ctx ends, and closes the listener.
func serveProfiles(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve profiles: %w", err)
	}
	return nil
}

// profilePorts are the TCP ports for profiles.
func (f *ProfileFlags) profilePorts() []uint16 {
	if !f.PProf.IsValid() {
		return nil
	}
	return []uint16{f.PProf.Port()}
}

// profiles tries the address for profiles.
func (c *Checkup) profiles(flags *RunFlags) {
	if !flags.PProf.IsValid() {
		return
	}
	if c.Running("pprof") {
		c.OK("profiles", "The running program serves profiles at %v", flags.PProf)
		return
	}
	listener, err := flags.listenProfiles(nil)
	if err == nil {
		listener.Close()
	}
	c.Must(err, "profiles", "The address %v for profiles is free", flags.PProf)
}
