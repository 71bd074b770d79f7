package server

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// FuzzHandle holds every verdict, on any bytes from anywhere, to what the server promises to third parties
// (S-RX-02, S-RX-05, S-FWD-02, S-FWD-04, S-RS-05, SEC-NOAMP-01).
func FuzzHandle(f *testing.F) {
	moved := netip.AddrPortFrom(mappedA.Addr(), mappedA.Port()+1)
	for _, payload := range [][]byte{
		rs(solicitor), rs(coneSolicitor), teredo.AppendNativeSolicitation(nil, solicitor), join(nonceAuth(), rs(solicitor)),
		bubble(clientA, clientB), bubble(clientA, foreignB), bubble(relayLL, clientB), bubble(nativeHost, clientB),
		ping(clientA, nativeHost), ping(clientA, serverLL), ping(clientA, teredo.AllRouters()), ping(nativeHost, clientB),
		ping(clientA, netip.MustParseAddr("2002:c000:201::1")),
		join(nonceAuth(), origin(relay), bubble(clientA, clientB), teredo.AppendNonceTrailer(nil, [4]byte{1, 2, 3, 4})),
		join(bubble(clientA, clientB), make([]byte, teredo.MaxTrailers+1)),
		oversized(clientA, nativeHost),
		signed("client1", secret, rs(solicitor)), signed("client1", longKey, rs(coneSolicitor)),
		teredo.AppendNonceTrailer(bubble(clientOf(otherServer, moved), clientB), [4]byte{1, 2, 3, 4}),
	} {
		ip := mappedA.Addr().As4()
		f.Add(false, binary.BigEndian.Uint32(ip[:]), mappedA.Port(), payload)
		ip = relay.Addr().As4()
		f.Add(true, binary.BigEndian.Uint32(ip[:]), relay.Port(), payload)
	}
	cfg := labConfig()
	h := newHandler(f, cfg)
	translating := cfg
	translating.Native = netip.MustParsePrefix("2001:db8:c::/64")
	translator := newHandler(f, translating)
	secure := newHandler(f, secureConfig(expiry))
	built := make([]byte, 0, MaxOutput)
	f.Fuzz(func(t *testing.T, second bool, ip uint32, port uint16, payload []byte) {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], ip)
		in := input{from: netip.AddrPortFrom(netip.AddrFrom4(b), port), payload: payload}
		if second {
			in.local = Secondary
		}
		before := bytes.Clone(payload)
		v := h.Handle(in.local, in.from, payload, built)
		if !bytes.Equal(before, payload) {
			t.Error("the input was changed")
		}
		if cap(v.Payload) > 0 && cap(v.Payload) != MaxOutput {
			t.Error("the payload did not fit the buffer")
		}
		switch v.Action {
		case Drop:
			if v.Reason == drop.None || v.Payload != nil {
				t.Errorf("dropped, but %+v", v)
			}
		case Send:
			checkSend(t, cfg, in, v)
		case Native:
			checkNative(t, cfg, in, v)
		}
		if v := translator.Handle(in.local, in.from, payload, built); v.Action == Send {
			checkSend(t, translating, in, v)
		}
		if v := secure.Handle(in.local, in.from, payload, built); v.Kind == Solicitation && v.Action == Send {
			checkAuthentic(t, payload)
		}
	})
}

// checkAuthentic: with secrets, only authentic solicitations are answered.
func checkAuthentic(t *testing.T, payload []byte) {
	var p teredo.Packet
	if err := p.Parse(payload); err != nil {
		t.Fatal(err)
	}
	for _, key := range [][]byte{secret, longKey} {
		if value := teredo.AuthValue(key, p.Auth.Nonce, p.Auth.Confirmation, p.Origin, p.IPv6); bytes.Equal(value[:], p.Auth.Value) {
			return
		}
	}
	t.Errorf("answers %x", payload)
}

// checkSend: never to a non-global address or ourselves, never more than the sender spent plus an origin indication,
// nothing but bubbles, echoes and router advertisements.
func checkSend(t *testing.T, cfg Config, in input, v Verdict) {
	if !cfg.Filter.Global(v.To.Addr()) || v.To.Port() == 0 {
		t.Errorf("sends to %v", v.To)
	}
	if v.To.Addr() == cfg.Primary || v.To.Addr() == cfg.Secondary {
		t.Errorf("sends to itself, %v", v.To)
	}
	if v.Local != Primary && v.Local != Secondary {
		t.Errorf("sends from %d", v.Local)
	}
	var p teredo.Packet
	if err := p.Parse(v.Payload); err != nil {
		t.Fatalf("sends %x: %v", v.Payload, err)
	}
	if v.Kind == Solicitation {
		if len(v.Payload) > min(len(in.payload)+56, 13+8+advertisementLen) || v.To != in.from || p.Origin != in.from || len(p.Trailers) > 0 {
			t.Errorf("advertisement of %d bytes to %v, origin %v", len(v.Payload), v.To, p.Origin)
		}
		return
	}
	if len(v.Payload) > len(in.payload)+8 || p.HasAuth {
		t.Errorf("%d bytes became %d", len(in.payload), len(v.Payload))
	}
	if p.Origin.IsValid() && p.Origin != in.from {
		t.Errorf("origin %v, not %v", p.Origin, in.from)
	}
	if k := kindOf(p.IPv6); k != Bubble && k != Echo {
		t.Errorf("forwards %x", p.IPv6)
	}
	if src := teredo.Source(p.IPv6); teredo.IsTeredo(src) && teredo.Mapped(src) != in.from && !mayHaveMoved(cfg, in, p) {
		t.Errorf("forwards as %v what %v sent", src, in.from)
	}
}

// mayHaveMoved: a symmetric NAT can give another port of the same address to a bubble with a nonce for one of our clients
//
func mayHaveMoved(cfg Config, in input, p teredo.Packet) bool {
	nonce := false
	for t, rest, ok := teredo.NextTrailer(p.Trailers); ok && !nonce; t, rest, ok = teredo.NextTrailer(rest) {
		_, nonce = t.Nonce()
	}
	return nonce && !cfg.StrictSource && kindOf(p.IPv6) == Bubble &&
		teredo.Mapped(teredo.Source(p.IPv6)).Addr() == in.from.Addr() &&
		teredo.ServerOf(teredo.Destination(p.IPv6)) == cfg.public()
}

// checkNative: only a client's own echoes and bubbles, to addresses of global scope.
func checkNative(t *testing.T, cfg Config, in input, v Verdict) {
	if err := teredo.CheckIPv6(v.Payload); err != nil {
		t.Fatalf("routes %x: %v", v.Payload, err)
	}
	if len(v.Payload) > len(in.payload) || len(v.Payload) > teredo.MTU {
		t.Errorf("%d bytes became %d", len(in.payload), len(v.Payload))
	}
	if src := teredo.Source(v.Payload); teredo.Mapped(src) != in.from {
		t.Errorf("routes as %v what %v sent", src, in.from)
	}
	dst := teredo.Destination(v.Payload)
	if v.To != netip.AddrPortFrom(dst, 0) || !new(teredo.Filter).Native(dst) {
		t.Errorf("routes to %v, destination %v", v.To, dst)
	}
	if k := kindOf(v.Payload); k != Bubble && k != Echo {
		t.Errorf("routes %x", v.Payload)
	}
}
