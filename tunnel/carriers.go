package tunnel

import "net/netip"

// carriers says of peers whether the kernel or the program carries packets to them.
func (k *kernelFlows) carriers(peers []Peer) {
	inKernel := make(map[netip.Addr]bool)
	k.mu.Lock()
	for flow := range k.all {
		inKernel[flow.Peer] = true
	}
	k.mu.Unlock()
	for i := range peers {
		switch p := &peers[i]; {
		case inKernel[p.Address]:
			p.CarriedBy = "kernel"
		case p.Endpoint.IsValid():
			p.CarriedBy = "program"
		}
	}
}
