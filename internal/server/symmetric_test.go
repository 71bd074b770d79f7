package server

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// S-RX-05, A-10: the client of another server, behind a symmetric NAT, is seen at another port than its address says. Its indirect
// bubbles with a nonce are passed on to our clients, and nothing else of it is.
func TestSymmetricNATAcrossServers(t *testing.T) {
	moved := netip.AddrPortFrom(mappedA.Addr(), mappedA.Port()+1)
	foreignA := clientOf(otherServer, mappedA)
	nonce := func(b []byte) []byte { return teredo.AppendNonceTrailer(b, [4]byte{1, 2, 3, 4}) }
	strict := labConfig()
	strict.StrictSource = true
	tests := []struct {
		name    string
		cfg     Config
		from    netip.AddrPort
		payload []byte
		want    drop.Reason
	}{
		{"bubble with a nonce", labConfig(), moved, nonce(bubble(foreignA, clientB)), drop.None},
		{"nonce after another trailer", labConfig(), moved,
			nonce(teredo.AppendRandomPortTrailer(bubble(foreignA, clientB), 9)), drop.None},
		{"no nonce", labConfig(), moved, bubble(foreignA, clientB), drop.Source},
		{"another trailer only", labConfig(), moved, teredo.AppendRandomPortTrailer(bubble(foreignA, clientB), 9), drop.Source},
		{"another address", labConfig(), relay, nonce(bubble(foreignA, clientB)), drop.Source},
		{"not our client", labConfig(), moved, nonce(bubble(foreignA, foreignB)), drop.Source},
		{"echo request", labConfig(), moved, nonce(ping(foreignA, clientB)), drop.Source},
		{"strict", strict, moved, nonce(bubble(foreignA, clientB)), drop.Source},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := handle(newHandler(t, tt.cfg), input{from: tt.from, payload: tt.payload})
			if v.Reason != tt.want {
				t.Fatalf("%v %v, want %v", v.Action, v.Reason, tt.want)
			}
			if tt.want != drop.None {
				return
			}
			want := join(teredo.AppendOrigin(nil, moved), tt.payload) // the origin, and nothing else (S-FWD-06, S-FWD-07)
			if v.To != mappedB || string(v.Payload) != string(want) {
				t.Errorf("to %v: %x, want %x", v.To, v.Payload, want)
			}
		})
	}
}
