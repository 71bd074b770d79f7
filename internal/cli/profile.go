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

// listenProfiles opens the address of --pprof. Without the flag there is none, nil.
func (f *RunFlags) listenProfiles() (net.Listener, error) {
	if !f.PProf.IsValid() {
		return nil, nil
	}
	listener, err := net.Listen("tcp", f.PProf.String())
	if err != nil {
		return nil, fmt.Errorf("serve profiles: %w; choose another address with --pprof", err)
	}
	return listener, nil
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
