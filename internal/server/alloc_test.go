package server

import (
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// paths has one datagram for each way through the handler.
func paths() map[string]input {
	return map[string]input{
		"oversized":      {from: relay, payload: oversized(nativeHost, clientB)},
		"malformed":      {from: mappedA, payload: []byte{0, 2}},
		"solicitation":   {from: mappedA, payload: join(nonceAuth(), rs(solicitor))},
		"cone":           {from: mappedA, payload: rs(coneSolicitor)},
		"bad checksum":   {from: mappedA, payload: with(rs(solicitor), 42, 0)},
		"bubble":         {from: mappedA, payload: bubble(clientA, clientB)},
		"trailers":       {from: mappedA, payload: teredo.AppendNonceTrailer(bubble(clientA, clientB), [4]byte{1, 2, 3, 4})},
		"relay":          {from: relay, payload: bubble(relayLL, clientB)},
		"forged":         {from: relay, payload: bubble(clientA, clientB)},
		"loop":           {from: mappedA, payload: bubble(clientA, clientOf(primaryAddr, relay))},
		"echo":           {from: relay, payload: ping(nativeHost, clientB)},
		"echo to server": {from: mappedA, payload: ping(clientA, serverLL)},
		"echo natively":  {from: mappedA, payload: ping(clientA, nativeHost)},
		"out of scope":   {from: mappedA, payload: ping(clientA, relayLL)},
		"not our client": {from: relay, payload: bubble(nativeHost, foreignB)},
	}
}

func TestHandleAllocatesNothing(t *testing.T) {
	h := newHandler(t, labConfig())
	buf := make([]byte, 0, MaxOutput)
	for name, in := range paths() {
		if n := testing.AllocsPerRun(100, func() { h.Handle(in.local, in.from, in.payload, buf) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// The largest payload that may leave fills the buffer and no more.
func TestLargestPayloadFitsBuffer(t *testing.T) {
	data := make([]byte, teredo.MTU-teredo.HeaderLen-8)
	packet := teredo.AppendEchoRequest(nil, nativeHost, clientB, 1, 1, data)
	in := join(packet, make([]byte, teredo.MaxTrailers))
	v := handle(newHandler(t, labConfig()), input{from: relay, payload: in})
	if v.Action != Send || len(v.Payload) != MaxOutput {
		t.Errorf("action %v, %d bytes; want %d", v.Action, len(v.Payload), MaxOutput)
	}
}

func BenchmarkHandle(b *testing.B) {
	h := newHandler(b, labConfig())
	buf := make([]byte, 0, MaxOutput)
	for _, name := range []string{"solicitation", "bubble", "echo natively", "forged"} {
		in := paths()[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.Handle(in.local, in.from, in.payload, buf)
			}
		})
	}
}
