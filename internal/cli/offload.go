package cli

import "github.com/teredo-suite/teredo/internal/offload"

// OffloadFlags are the flags of programs that carry packets. Embed it.
type OffloadFlags struct {
	UDPGSO     offload.Mode `name:"udp-gso" default:"auto" placeholder:"auto|on|off" help:"Send datagrams in bursts (UDP_SEGMENT). Their IPv4 identification then repeats sooner, which costs datagrams where a path fragments them and loses fragments."`
	UDPGRO     offload.Mode `name:"udp-gro" default:"auto" placeholder:"auto|on|off" help:"Receive datagrams in bursts (UDP_GRO)."`
	TUNOffload offload.Mode `name:"tun-offload" default:"auto" placeholder:"auto|on|off" help:"Exchange TCP segments and UDP datagrams with the IPv6 stack in bursts."`
	KernelPath offload.Mode `name:"kernel-path" default:"auto" placeholder:"auto|on|off" help:"Have the kernel carry the packets of confirmed flows by itself (eBPF). The packet filter of this host does not see their datagrams."`
}
