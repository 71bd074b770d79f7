//go:build linux

package integration

import (
	"crypto/rand"
	"net/netip"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// TestBadServers lets our client ask servers that are silent, or that answer with what must not be believed.
// It must stay unqualified, keep running, and say what is wrong.
func TestBadServers(t *testing.T) {
	server := netip.MustParseAddr(lab.ServerAddr)
	for name, answer := range map[string]func(request teredo.Packet, mapped netip.AddrPort) []byte{
		"silent": func(teredo.Packet, netip.AddrPort) []byte { return nil },
		"noise": func(teredo.Packet, netip.AddrPort) []byte {
			noise := make([]byte, 120)
			// Never fails.
			_, _ = rand.Read(noise)
			return noise
		},
		"echo": func(request teredo.Packet, mapped netip.AddrPort) []byte { return request.IPv6 },
		"cut short": func(request teredo.Packet, mapped netip.AddrPort) []byte {
			whole := advertisement(request.Auth, mapped, server, request.IPv6)
			return whole[:len(whole)-8]
		},
		"nonce of another": func(request teredo.Packet, mapped netip.AddrPort) []byte { // C-SEC-02
			request.Auth.Nonce[0] ^= 1
			return advertisement(request.Auth, mapped, server, request.IPv6)
		},
		"prefix of another server": func(request teredo.Packet, mapped netip.AddrPort) []byte { // C-QUAL-10
			return advertisement(request.Auth, mapped, netip.MustParseAddr(lab.RelayAddr), request.IPv6)
		},
		"private mapped address": func(request teredo.Packet, _ netip.AddrPort) []byte { // C-QUAL-13
			return advertisement(request.Auth, netip.MustParseAddrPort("10.1.2.3:4000"), server, request.IPv6)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.serveBadly(lab.ServerAddr, answer)
			w.serveBadly(lab.ServerAddr2, answer)
			client := w.start("client1", w.clientCommand("client1")...)
			s := w.untilStatus(2*qualificationTimeout, "client1", "offline, with a reason", func(s clientStatus) bool {
				return s.State == "offline" && s.LastError != ""
			})
			if !strings.Contains(s.LastError, lab.ServerAddr) {
				t.Errorf("last_error does not name the server: %q", s.LastError)
			}
			if addr, has := w.teredoAddr("client1"); has || s.Address != "" {
				t.Errorf("address %v on the interface, %q in the status", addr, s.Address)
			}
			if code, err := client.Stop(exitTimeout); err != nil || code != 0 {
				t.Errorf("exit code %d, %v", code, err)
			}
		})
	}
}

// serveBadly answers every packet on a server's address with what answer makes of it.
func (w *world) serveBadly(addr string, answer func(request teredo.Packet, mapped netip.AddrPort) []byte) {
	w.t.Helper()
	socket := w.socket("server", netip.AddrPortFrom(netip.MustParseAddr(addr), teredo.Port).String())
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := socket.ReadFrom(buf)
			if err != nil {
				// The test has ended and closed the socket.
				return
			}
			var request teredo.Packet
			if request.Parse(buf[:n]) != nil {
				continue
			}
			mapped := netip.MustParseAddrPort(from.String())
			if reply := answer(request, mapped); reply != nil {
				// A reply that is lost shows as a failed test.
				_, _ = socket.WriteTo(reply, from)
			}
		}
	}()
}

// advertisement is what a correct server answers to a router solicitation.
func advertisement(auth teredo.Auth, mapped netip.AddrPort, server netip.Addr, solicitation []byte) []byte {
	b := teredo.AppendAuth(nil, auth)
	b = teredo.AppendOrigin(b, mapped)
	return teredo.AppendRouterAdvertisement(b, server, teredo.Source(solicitation))
}
