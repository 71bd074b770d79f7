package teredo_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

func TestOutbox(t *testing.T) {
	remotes := []netip.AddrPort{alternate1, alternate2, alternate3}
	payloads := [][]byte{
		[]byte("first"),
		bytes.Repeat([]byte("longer than a buffer is at first "), 50),
		[]byte("third"),
	}
	var out teredo.Outbox
	if len(out.Datagrams()) != 0 {
		t.Error("the zero Outbox is not empty")
	}
	for range 3 {
		for i, remote := range remotes {
			if b := out.Next(); len(b) != 0 {
				t.Errorf("Next returns a buffer with %d bytes in it", len(b))
			}
			out.Send(remote, append(out.Next(), payloads[i]...))
		}
		got := out.Datagrams()
		if len(got) != len(remotes) {
			t.Fatalf("%d datagrams", len(got))
		}
		for i, d := range got {
			if d.Remote != remotes[i] {
				t.Errorf("datagram %d is for %s", i, d.Remote)
			}
			wantBytes(t, "payload", d.Payload, payloads[i])
		}
		out.Reset()
		if len(out.Datagrams()) != 0 {
			t.Error("not empty after Reset")
		}
	}
}

// A buffer that was taken and not sent is the next one again.
func TestOutboxAbandonedBuffer(t *testing.T) {
	var out teredo.Outbox
	_ = append(out.Next(), "abandoned"...)
	out.Send(alternate1, append(out.Next(), "sent"...))
	if d := out.Datagrams(); len(d) != 1 || string(d[0].Payload) != "sent" {
		t.Errorf("got %v", d)
	}
}
