package kernelpath

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// Packets of a client that has a native address are translated in both directions. ICMPv6 errors, which quote addresses, and
// packets with other headers are left to the program.
func TestTranslated(t *testing.T) {
	w := newLink(t)
	var natives teredo.NativePrefixes
	w.ends, natives = translatedEnds(t)
	w.Path = openTranslating(t, w.ends.near, natives, 16)
	w.attachUplink(t)
	inside := packetSocket(t, unix.SOCK_DGRAM, linkOf(t, tunName), unix.ETH_P_IPV6)
	native, _ := natives.Native(w.Peer)
	outside := w.ends
	outside.Peer = native

	value := w.value(w.near.Attrs().Index, time.Now().Add(-heardJustNow), true)
	value.Native.In6U.U6Addr8 = native.As16()
	must(t, w.objects.Clients.Put(outside.key(), &w.key().Peer))
	for _, test := range []struct {
		name   string
		header byte
		rest   []byte
		left   bool
	}{
		{"UDP", udp, []byte("test packet"), false},
		{"TCP", tcp, make([]byte, 20), false},
		{"echo request", icmpv6, append([]byte{128}, make([]byte, 63)...), false},
		{"port unreachable", icmpv6, append([]byte{1, 4}, make([]byte, 62)...), true},
		{"too big", icmpv6, append([]byte{2}, make([]byte, 63)...), true},
		{"no message", icmpv6, nil, true},
		{"fragment", 44, make([]byte, 20), true},
		{"destination options", 60, make([]byte, 24), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			put(t, w.Path, w.Flow, value)
			packet := outside.ipv6(test.header, test.rest)
			must(t, w.Send(packet))
			if test.left {
				if got := receive(t, w.tun); !bytes.Equal(got, packet) {
					t.Errorf("the program gets %x\nwant             %x", got, packet)
				}
			} else if want, got := w.frame(value.Sent, w.ipv6(test.header, test.rest)), receive(t, w.link); !bytes.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
			for receiveNow(t, inside) != nil { // it sees what leaves, too
			}

			_, err := unix.Write(w.link, w.answer(w.swapped().ipv6(test.header, test.rest)))
			must(t, err)
			if !test.left {
				if want, got := outside.swapped().ipv6(test.header, test.rest), receive(t, inside); !bytes.Equal(got, want) {
					t.Errorf("delivers %x\nwant     %x", got, want)
				}
			}
			received := value.Received
			if !test.left {
				received++
			}
			if now := get(t, w.Path, w.Flow); now.Received != received {
				t.Errorf("%d packets received", now.Received-value.Received)
			}
		})
	}
	// Any other native address of the prefix has no flow.
	stranger := outside
	stranger.Peer = native.Next()
	packet := stranger.ipv6(udp, nil)
	must(t, w.Send(packet))
	if got := receive(t, w.tun); !bytes.Equal(got, packet) {
		t.Errorf("the program gets %x\nwant             %x", got, packet)
	}
	// With the flow goes its address.
	must(t, w.Remove(w.Flow))
	var client objectIn6Addr
	if err := w.objects.Clients.Lookup(outside.key(), &client); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("the native address is still known: %v", err)
	}
}
