package peer_test

import (
	"fmt"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// W-ADDR-04: no bit of the flags in a peer's address matters, known or reserved: client and relay send to it, and take what
// comes from it.
func TestFlagsDoNotMatter(t *testing.T) {
	for _, flags := range []uint16{0, teredo.FlagCone, 0x4000, 0x0200, 0x0100, 0x3c00, 0x00ff, 0xffff} {
		t.Run(fmt.Sprintf("%#04x", flags), func(t *testing.T) {
			a := teredo.Address{Server: peerServer.Addr(), Flags: flags, Mapped: peerMapped}.Addr()
			name := a.String()
			r, _ := clientRig(t)
			r.want(r.send(data(own, a, 1)), "bubble own>"+name+" to other", "bubble own>"+name+" to peer-server")
			r.want(r.receive(peerMapped, bubble(a, own)), "data 1 own>"+name+" to other")
			r.want(r.receive(peerMapped, data(a, own, 2)), "deliver data 2 "+name+">own")
			r, _ = clientRig(t)
			r.want(r.receive(server, via(peerServer, bubble(a, own))), "bubble own>"+name+" to other", "bubble own>"+name+" to peer-server")
			r, _ = relayRig(t)
			r.want(r.send(data(host, a, 3)), "bubble relay>"+name+" to peer-server")
			r.want(r.receive(peerMapped, data(a, host, 4)), "data 3 host>"+name+" to other", "deliver data 4 "+name+">host")
		})
	}
}
