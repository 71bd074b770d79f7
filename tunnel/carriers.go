package tunnel

import (
	"net/netip"

	"github.com/teredo-suite/teredo/internal/peer"
)

// carriers says of peers whether the kernel or the program carries packets to them.
func (k *kernelFlows) carriers(infos []peer.Info) []peer.Info {
	inKernel := make(map[netip.Addr]bool, len(k.all))
	for flow := range k.all {
		inKernel[flow.Peer] = true
	}
	for i := range infos {
		switch p := &infos[i]; {
		case inKernel[p.Address]:
			p.CarriedBy = "kernel"
		case p.Endpoint.IsValid():
			p.CarriedBy = "program"
		}
	}
	return infos
}
