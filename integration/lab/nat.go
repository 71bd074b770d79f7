//go:build linux

package lab

import (
	"fmt"
	"os/exec"
	"strings"
)

// NAT is a kind of network address translator, in the words of RFC 4380 §3.1.
type NAT string

// The kinds of NAT. None of the first two moves a client to another port as long as its own is free.
const (
	PortRestricted          NAT = "port-restricted"           // one mapping for all peers; only peers that were sent to may answer
	FullCone                NAT = "full-cone"                 // one mapping for all peers; anybody may send to it
	Symmetric               NAT = "symmetric"                 // another mapping for each peer, at a random port
	PortPreservingSymmetric NAT = "port-preserving symmetric" // the same, but the first one of a port of the client keeps that port
)

// rules returns the nftables ruleset of a NAT in front of one client.
//
// Linux keeps the port of a flow unless another flow occupies it. A stranger's packet that was accepted would occupy
// it: the client's later flow to that stranger would move to another port, as behind no port-restricted NAT.
// A packet dropped on input leaves no such trace, because only the end of that hook records the flow.
//
// A rule of the chain outbound ends with the translation, so that the next one is for packets that it is not for.
func (n NAT) rules(client string) (string, error) {
	const toUplink = `oifname "uplink" `
	outbound := toUplink + "masquerade"
	inbound, remember := "", ""
	switch n {
	case PortRestricted:
	case FullCone:
		inbound = `iifname "uplink" udp dport @mapped dnat to ` + client
		remember = toUplink + "meta l4proto udp update @mapped { udp sport }"
	case Symmetric:
		outbound = toUplink + "masquerade fully-random"
	case PortPreservingSymmetric:
		outbound = toUplink + "udp sport @mapped update @mapped { udp sport } masquerade fully-random; " +
			toUplink + "meta l4proto udp update @mapped { udp sport } masquerade; " + outbound
	default:
		return "", fmt.Errorf("no such kind of NAT: %q", n)
	}
	return strings.NewReplacer("OUTBOUND", outbound, "INBOUND", inbound, "REMEMBER", remember).Replace(`
table ip nat {
	set mapped { type inet_service; flags dynamic,timeout; timeout 2m; size 65535; }
	chain outbound { type nat hook postrouting priority srcnat; OUTBOUND; }
	chain inbound { type nat hook prerouting priority dstnat; INBOUND; }
	chain remember { type filter hook forward priority filter; REMEMBER; }
	chain unsolicited { type filter hook input priority filter; iifname "uplink" meta l4proto udp drop; }
}
`), nil
}

func (l *Lab) addNAT(name string, kind NAT, client string) error {
	rules, err := kind.rules(client)
	if err != nil {
		return err
	}
	if err := l.Host(name).Do(func() error { return feed(exec.Command("nft", "-f", "-"), rules) }); err != nil {
		return fmt.Errorf("make %s a %s NAT: %w", name, kind, err)
	}
	return nil
}
