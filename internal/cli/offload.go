package cli

import "github.com/teredo-suite/teredo/internal/offload"

// UDPFlags are the flags of programs that carry packets. Embed it.
type UDPFlags struct {
	UDPGSO offload.Mode `name:"udp-gso" default:"auto" placeholder:"auto|on|off" help:"Send datagrams in bursts (UDP_SEGMENT). IPv4 identifications then repeat sooner, which loses datagrams on paths that fragment them and drop fragments."`
	UDPGRO offload.Mode `name:"udp-gro" default:"auto" placeholder:"auto|on|off" help:"Receive datagrams in bursts (UDP_GRO)."`
}

// DeviceFlags are the flags of programs that have a TUN interface. Embed it.
type DeviceFlags struct {
	TUNOffload offload.Mode `name:"tun-offload" default:"auto" placeholder:"auto|on|off" help:"Exchange TCP segments and UDP datagrams with the local IPv6 stack in bursts."`
}

// KernelFlags are the flags of programs with a kernel path. Embed it.
type KernelFlags struct {
	KernelPath offload.Mode `name:"kernel-path" default:"auto" placeholder:"auto|on|off" help:"Let the kernel handle by itself what it can (eBPF): packets of confirmed flows, and at a server solicitations and bubbles. The IPv4 packet filter of this host does not see these datagrams."`
}
