package teredo_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/mdlayher/ndp"

	"github.com/teredo-suite/teredo/teredo"
)

// A payload that parses has the parts that put it together again, and nothing in it can upset the other parsers.
func FuzzPacket(f *testing.F) {
	f.Fuzz(func(t *testing.T, payload []byte) {
		var p teredo.Packet
		if err := p.Parse(payload); err != nil {
			return
		}
		wantBytes(t, "put together again", appendPacket(nil, &p), payload)
		if err := teredo.CheckIPv6(p.IPv6); err != nil {
			t.Errorf("the IPv6 packet: %v", err)
		}
		checkMessages(t, p.IPv6)
		checkUnreachable(t, p.IPv6)
		walkTrailers(t, p.Trailers)
	})
}

// An advertisement is accepted just when ndp reads it and it has the one prefix that a Teredo server advertises.
// The input is the ICMPv6 message; addresses, hop limit and checksum are put right.
func FuzzRouterAdvertisement(f *testing.F) {
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) < 4 || len(message) > 0xffff {
			return
		}
		packet := icmpPacket(serverLL, clientLL, 255, message)
		checkMessages(t, packet)
		ra, err := teredo.ParseRouterAdvertisement(packet)
		m, oracleErr := ndp.ParseMessage(packet[40:])
		if oracleErr != nil {
			return // ndp also minds options that we skip
		}
		oracle, ok := m.(*ndp.RouterAdvertisement)
		if want := ok && message[1] == 0 && acceptable(oracle, message); want != (err == nil) {
			t.Fatalf("got %+v, %v; ndp reads %+v", ra, err, m)
		}
		if err == nil {
			prefix, mtu := teredoOptions(oracle)
			if ra.Source != serverLL || ra.Destination != clientLL || ra.Prefix.Addr() != prefix || ra.MTU != mtu {
				t.Errorf("got %+v, ndp reads %+v", ra, oracle)
			}
		}
	})
}

// acceptable applies W-RA-02 and W-RA-03 to what ndp read. As ndp takes MTU options of any length, it looks at the message
// for those.
func acceptable(ra *ndp.RouterAdvertisement, message []byte) bool {
	for o := message[16:]; len(o) > 0; o = o[int(o[1])*8:] {
		if o[0] == 5 && o[1] != 1 {
			return false
		}
	}
	prefixes := 0
	for _, o := range ra.Options {
		if pi, ok := o.(*ndp.PrefixInformation); ok {
			prefixes++
			if pi.PrefixLength != 64 || !teredo.Prefix().Contains(pi.Prefix) {
				return false
			}
		}
	}
	return prefixes == 1
}

func teredoOptions(ra *ndp.RouterAdvertisement) (prefix netip.Addr, mtu uint32) {
	for _, o := range ra.Options {
		switch o := o.(type) {
		case *ndp.PrefixInformation:
			prefix = o.Prefix
		case *ndp.MTU:
			mtu = o.MTU
		}
	}
	return prefix, mtu
}

// The trailers that are found, and what is left, put the bytes together again; a value that is read is written the same.
func FuzzTrailers(f *testing.F) {
	f.Fuzz(walkTrailers)
}

func walkTrailers(t *testing.T, b []byte) {
	var again []byte
	rest := b
	for {
		tr, next, ok := teredo.NextTrailer(rest)
		if !ok {
			break
		}
		if len(next) >= len(rest) {
			t.Fatalf("no progress at %x", rest)
		}
		again = append(again, tr.Type, byte(len(tr.Value)))
		again = append(again, tr.Value...)
		checkTrailer(t, tr)
		rest = next
	}
	if len(rest) >= 2 && len(rest) >= 2+int(rest[1]) {
		t.Errorf("stopped at a whole trailer: %x", rest)
	}
	wantBytes(t, "put together again", append(again, rest...), b)
}

// checkTrailer reads the trailer in every way and writes again what could be read.
func checkTrailer(t *testing.T, tr teredo.Trailer) {
	ways := 0
	value := func(what string, written []byte, from int) {
		t.Helper()
		ways++
		wantBytes(t, what, written[2+from:], tr.Value[from:])
	}
	if nonce, ok := tr.Nonce(); ok {
		value("nonce", teredo.AppendNonceTrailer(nil, nonce), 0)
	}
	if port, ok := tr.RandomPort(); ok {
		value("random port", teredo.AppendRandomPortTrailer(nil, port), 0)
	}
	if kind, ok := tr.NeighborDiscovery(); ok {
		value("neighbor discovery", append(teredo.AppendNeighborDiscoveryTrailer(nil, kind)[:3], tr.Value[1:]...), 0)
	}
	addrs, ok := tr.AlternateAddresses(nil)
	if ok {
		value("alternate addresses", teredo.AppendAlternateAddressTrailer(nil, addrs...), 2)
	}
	for _, a := range addrs {
		if a.Port() == 0 || a.Addr().IsMulticast() || a.Addr().IsUnspecified() || a.Addr().IsLoopback() {
			t.Errorf("alternate address %s", a)
		}
	}
	if ways > 1 || ways == 1 && tr.Discard() {
		t.Errorf("trailer %+v can be read in %d ways, discard %v", tr, ways, tr.Discard())
	}
}

// An address is Teredo just when the prefix contains it, and its fields then put it together again.
func FuzzAddress(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		want := teredo.Prefix().Contains(addr)
		a, ok := teredo.ParseAddress(addr)
		if ok != want || teredo.IsTeredo(addr) != want || teredo.Mapped(addr).IsValid() != want || teredo.ServerOf(addr).IsValid() != want {
			t.Fatalf("%s: in the prefix: %v, parsed: %v", addr, want, ok)
		}
		if !ok {
			return
		}
		if a.Addr() != addr {
			t.Errorf("%s becomes %s", addr, a.Addr())
		}
		if a.Mapped != teredo.Mapped(addr) || a.Server != teredo.ServerOf(addr) || teredo.ConeBit(addr) != (a.Flags&teredo.FlagCone != 0) {
			t.Errorf("%s: fields %+v are not what the accessors return", addr, a)
		}
		if !a.Server.Is4() || !a.Mapped.Addr().Is4() {
			t.Errorf("%s: fields %+v are not IPv4", addr, a)
		}
	})
}

// checkMessages lets every parser at the packet, and writes again what could be read.
func checkMessages(t *testing.T, ipv6 []byte) {
	t.Helper()
	if e, err := teredo.ParseEcho(ipv6); err == nil {
		again := icmpPacket(teredo.Source(ipv6), teredo.Destination(ipv6), ipv6[7], append([]byte{
			e.Type, 0, 0, 0, byte(e.ID >> 8), byte(e.ID), byte(e.Seq >> 8), byte(e.Seq),
		}, e.Data...))
		sameButChecksum(t, again, ipv6)
		if reply := teredo.AppendEchoReply(nil, native, ipv6); (reply != nil) != (e.Type == teredo.ICMPv6EchoRequest) {
			t.Errorf("echo of type %d is answered with %x", e.Type, reply)
		}
	}
	if src, err := teredo.ParseRouterSolicitation(ipv6); err == nil {
		if !src.IsLinkLocalUnicast() || src != teredo.Source(ipv6) {
			t.Errorf("solicitation from %s", src)
		}
		if teredo.AsksNativePrefix(ipv6) && !bytes.Contains(ipv6[48:], []byte("\xfd\x02native")) {
			t.Errorf("asks without the option: %x", ipv6)
		}
	}
	if ra, err := teredo.ParseRouterAdvertisement(ipv6); err == nil {
		if ra.Prefix != ra.Prefix.Masked() || ra.Prefix.Bits() != 64 || !teredo.IsTeredo(ra.Prefix.Addr()) || !ra.Source.IsLinkLocalUnicast() {
			t.Errorf("advertisement %+v", ra)
		}
	}
}

// sameButChecksum leaves out the traffic class and flow label, and the checksum: 0000 and ffff are the same sum.
func sameButChecksum(t *testing.T, got, want []byte) {
	t.Helper()
	wantBytes(t, "message", rewrite(rewrite(got, 0, want[:4]...), 42, want[42:44]...), want)
}

// checkUnreachable checks that an error about the packet fits, is well formed, and calls for no error itself.
func checkUnreachable(t *testing.T, ipv6 []byte) {
	t.Helper()
	b := teredo.AppendUnreachable(nil, router, 0, ipv6)
	if b == nil {
		return
	}
	if len(b) > teredo.MTU || teredo.CheckIPv6(b) != nil || teredo.Destination(b) != teredo.Source(ipv6) {
		t.Errorf("error %x", b)
	}
	wantBytes(t, "error", b, icmpPacket(router, teredo.Source(ipv6), 255, b[40:]))
	if e, err := teredo.ParseICMPv6Error(b); err != nil || e.Type != teredo.ICMPv6Unreachable || !bytes.HasPrefix(ipv6, e.Invoking) {
		t.Errorf("read as %+v, %v", e, err)
	}
	if again := teredo.AppendUnreachable(nil, native, 0, b); again != nil {
		t.Errorf("an error about an error: %x", again)
	}
}
