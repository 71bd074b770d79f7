package server

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// W-ADDR-04: no bit of the flags in a client's address matters, of the sender or of the receiver.
func TestFlagsDoNotMatter(t *testing.T) {
	h := newHandler(t, labConfig())
	for _, flags := range []uint16{0, teredo.FlagCone, 0x4000, 0x0200, 0x0100, 0x3c00, 0x00ff, 0xffff} {
		t.Run(fmt.Sprintf("%#04x", flags), func(t *testing.T) {
			a := teredo.Address{Server: primaryAddr, Flags: flags, Mapped: mappedA}.Addr()
			b := teredo.Address{Server: primaryAddr, Flags: flags, Mapped: mappedB}.Addr()
			v := handle(h, input{from: mappedA, payload: bubble(a, b)})
			if want := join(origin(mappedA), bubble(a, b)); v.Action != Send || v.To != mappedB || !bytes.Equal(v.Payload, want) {
				t.Errorf("bubble between clients: %+v", v)
			}
			if v := handle(h, input{from: mappedA, payload: ping(a, nativeHost)}); v.Action != Native {
				t.Errorf("echo to a native host: %+v", v)
			}
			if v := handle(h, input{from: relay, payload: bubble(relayLL, b)}); v.Action != Send || v.To != mappedB {
				t.Errorf("bubble of a relay: %+v", v)
			}
		})
	}
}
