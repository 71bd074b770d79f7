package teredo_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/ndp"

	"github.com/teredo-suite/teredo/teredo"
)

var (
	gatewayLL  = netip.MustParseAddr("fe80::1")
	proxyLL    = netip.MustParseAddr("fe80::2")
	gatewayMAC = [6]byte{2, 0, 0, 0, 0, 1}
	proxyMAC   = [6]byte{2, 0, 0, 0, 0, 2}
	target     = netip.MustParseAddr("2001:db8:c:0:1234:63bf:3fff:fdd2")
	group      = netip.MustParseAddr("ff02::1:ffff:fdd2") // of the target
	nobody     = netip.IPv6Unspecified()
)

// solicitation is the message as ndp writes it.
func solicitation(t testing.TB, target netip.Addr, options ...ndp.Option) []byte {
	t.Helper()
	b, err := ndp.MarshalMessage(&ndp.NeighborSolicitation{TargetAddress: target, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sourceMAC(mac [6]byte) ndp.Option {
	return &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: net.HardwareAddr(mac[:])}
}

// What ndp writes, we read; and each rule of RFC 4861 §7.1.1 is kept.
func TestParseNeighborSolicitation(t *testing.T) {
	asked := teredo.NeighborSolicitation{Source: gatewayLL, Target: target, LinkLayer: gatewayMAC, HasLinkLayer: true}
	full := solicitation(t, target, sourceMAC(gatewayMAC))
	with := func(at int, value byte) []byte {
		b := append([]byte(nil), full...)
		b[at] = value
		return b
	}
	broken := icmpPacket(gatewayLL, group, 255, full)
	broken[42]++
	for name, test := range map[string]struct {
		packet []byte
		want   teredo.NeighborSolicitation
		err    error
	}{
		"to the group":            {icmpPacket(gatewayLL, group, 255, full), asked, nil},
		"to the target":           {icmpPacket(gatewayLL, target, 255, full), asked, nil},
		"without an option":       {icmpPacket(gatewayLL, target, 255, solicitation(t, target)), teredo.NeighborSolicitation{Source: gatewayLL, Target: target}, nil},
		"test of an address":      {icmpPacket(nobody, group, 255, solicitation(t, target)), teredo.NeighborSolicitation{Source: nobody, Target: target}, nil},
		"test with an option":     {packet: icmpPacket(nobody, group, 255, full), err: teredo.ErrAddressTest},
		"test to another group":   {packet: icmpPacket(nobody, netip.MustParseAddr("ff02::1"), 255, solicitation(t, target)), err: teredo.ErrAddressTest},
		"hop limit 254":           {packet: icmpPacket(gatewayLL, group, 254, full), err: teredo.ErrHopLimit},
		"another type":            {packet: icmpPacket(gatewayLL, group, 255, with(0, 136)), err: teredo.ErrICMPv6Type},
		"another code":            {packet: icmpPacket(gatewayLL, group, 255, with(1, 1)), err: teredo.ErrICMPv6Code},
		"multicast target":        {packet: icmpPacket(gatewayLL, group, 255, with(8, 0xff)), err: teredo.ErrTarget},
		"option without length":   {packet: icmpPacket(gatewayLL, group, 255, with(25, 0)), err: teredo.ErrOptionLength},
		"option beyond the end":   {packet: icmpPacket(gatewayLL, group, 255, with(25, 2)), err: teredo.ErrOptionLength},
		"half an option":          {packet: icmpPacket(gatewayLL, group, 255, full[:25]), err: teredo.ErrOptionLength},
		"23 bytes":                {packet: icmpPacket(gatewayLL, group, 255, full[:23]), err: teredo.ErrICMPv6Short},
		"wrong checksum":          {packet: broken, err: teredo.ErrICMPv6Checksum},
		"shorter than its header": {packet: icmpPacket(gatewayLL, group, 255, full)[:50], err: teredo.ErrIPv6Length},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := teredo.ParseNeighborSolicitation(test.packet)
			if !errors.Is(err, test.err) || err == nil && got != test.want {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, test.want, test.err)
			}
		})
	}
}

// What we write, ndp reads: solicited, without Override and Router (RFC 4861 §7.2.8), and hop limit and checksum are right.
func TestProxyAdvertisement(t *testing.T) {
	packet := teredo.AppendProxyAdvertisement(nil, proxyLL, gatewayLL, target, proxyMAC)
	m, err := ndp.ParseMessage(packet[40:])
	if err != nil {
		t.Fatal(err)
	}
	want := &ndp.NeighborAdvertisement{Solicited: true, TargetAddress: target, Options: []ndp.Option{
		&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: net.HardwareAddr(proxyMAC[:])},
	}}
	if diff := cmp.Diff(ndp.Message(want), m, addresses); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	message := append([]byte(nil), packet[40:]...)
	message[2], message[3] = 0, 0
	wantBytes(t, "packet", packet, icmpPacket(proxyLL, gatewayLL, 255, message))
}

// A solicitation is accepted just when ndp reads it and the source's MAC address is one. The input is the ICMPv6 message.
func FuzzNeighborSolicitation(f *testing.F) {
	f.Add(solicitation(f, target, sourceMAC(gatewayMAC)))
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) < 4 || len(message) > 0xffff {
			return
		}
		got, err := teredo.ParseNeighborSolicitation(icmpPacket(gatewayLL, group, 255, message))
		m, oracleErr := ndp.ParseMessage(message)
		if oracleErr != nil {
			return // ndp also minds options that we skip
		}
		oracle, ok := m.(*ndp.NeighborSolicitation)
		if err == nil && (!ok || got.Target != oracle.TargetAddress) || err != nil && ok && message[1] == 0 && !oracle.TargetAddress.IsMulticast() {
			t.Errorf("got %+v, %v; ndp reads %+v", got, err, m)
		}
	})
}
