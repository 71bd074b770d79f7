package probe

import (
	"context"
	"net/netip"
	"sync"

	"github.com/teredo-suite/teredo/internal/mapport"
)

// PortMapping is the result of asking the gateway to map a port. The zero value means that no gateway was asked.
type PortMapping struct {
	Protocol string         // "upnp", "pcp" or "nat-pmp"; "none" when the gateway maps no port
	External netip.AddrPort // at the gateway; invalid with "none"
}

// attempt is one attempt to have a port mapped. It runs while the servers are asked.
type attempt struct {
	result PortMapping // once it has ended
	ended  chan struct{}
	cancel context.CancelFunc
}

// tryPortMap asks the gateway toward the first server to map a port, and removes the mapping as soon as the gateway has answered.
// When the local address is global, there is no NAT and no gateway to ask.
func tryPortMap(ctx context.Context, cfg *Config, targets []*target) *attempt {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	a := &attempt{ended: make(chan struct{}), cancel: cancel}
	var local netip.Addr
	if cfg.PortMap != nil && len(targets) > 0 {
		local = cfg.Local(targets[0].Primary)
	}
	if !local.IsValid() || cfg.Filter.Global(local) {
		close(a.ended)
		return a
	}
	go func() {
		defer close(a.ended)
		conn, err := cfg.Open()
		if err != nil {
			return
		}
		defer conn.Close()
		a.result = PortMapping{Protocol: None}
		var once sync.Once
		r := mapport.Request{Server: targets[0].Primary, Local: netip.AddrPortFrom(local, conn.LocalAddr().Port())}
		r.Changed = func(external netip.AddrPort, protocol string) {
			once.Do(func() {
				if external.IsValid() {
					a.result = PortMapping{Protocol: protocol, External: external}
				}
				cancel()
			})
		}
		cfg.PortMap(ctx, r)
	}()
	return a
}

// wait waits for the end of the attempt, when the mapping is removed.
func (a *attempt) wait(progress func(string)) PortMapping {
	defer a.cancel()
	select {
	case <-a.ended:
	default:
		progress("the gateway")
		<-a.ended
	}
	return a.result
}
