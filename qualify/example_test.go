package qualify_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// serve answers a router solicitation as a server does that sees the client as mapped.
func serve(server netip.Addr, mapped netip.AddrPort, solicitation []byte) (advertisement teredo.Packet) {
	var p teredo.Packet
	if err := p.Parse(solicitation); err != nil {
		panic(err)
	}
	b := teredo.AppendAuth(nil, teredo.Auth{Nonce: p.Auth.Nonce})
	b = teredo.AppendOrigin(b, mapped)
	b = teredo.AppendRouterAdvertisement(b, server, teredo.Source(p.IPv6))
	if err := advertisement.Parse(b); err != nil {
		panic(err)
	}
	return advertisement
}

// A Machine has neither sockets nor a clock. Here a function plays the server, and time is what the example says.
func ExampleMachine() {
	server := netip.MustParseAddr("65.54.227.120")
	mapped := netip.MustParseAddrPort("9.9.9.9:40000")
	m, err := qualify.New(qualify.Config{
		Server: server, SymmetricNAT: true,
		Rand: func(b []byte) { clear(b) }, // for an output that is always the same; leave it out elsewhere
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Unix(0, 0)
	var out teredo.Outbox
	m.Start(now, &out)
	for range 2 { // the primary address, then the secondary
		asked := out.Datagrams()[0]
		fmt.Println("solicitation to", asked.Remote)
		answer := serve(server, mapped, asked.Payload)
		out.Reset()
		now = now.Add(40 * time.Millisecond)
		if err := m.Inbound(now, asked.Remote, &answer, &out); err != nil {
			fmt.Println(err)
		}
	}
	s := m.Status(now)
	fmt.Println(s.State, s.Address, s.NAT)
	due, _ := m.Deadline()
	fmt.Println("next solicitation after", due.Sub(now).Round(time.Second))
	// Output:
	// solicitation to 65.54.227.120:3544
	// solicitation to 65.54.227.121:3544
	// qualified 2001:0:4136:e378:0:63bf:f6f6:f6f6 restricted
	// next solicitation after 22s
}

func ExampleMachine_Inbound() {
	server := netip.MustParseAddr("65.54.227.120")
	m, _ := qualify.New(qualify.Config{Server: server})
	var out teredo.Outbox
	m.Start(time.Unix(0, 0), &out)
	answer := serve(server, netip.MustParseAddrPort("9.9.9.9:40000"), out.Datagrams()[0].Payload)
	answer.Auth.Nonce[0]++ // a forged answer: who does not see the solicitation can only guess
	err := m.Inbound(time.Unix(1, 0), out.Datagrams()[0].Remote, &answer, &out)
	fmt.Println(err == qualify.ErrNonce, m.Status(time.Unix(1, 0)).Refused)
	// Output: true router advertisement from 65.54.227.120:3544 refused: its nonce is not the one sent
}
