//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestDatagramsIn(t *testing.T) {
	for _, test := range []struct{ length, size, want int }{
		{0, 0, 1},
		{1, 1, 1},
		{100, 100, 1},
		{99, 100, 1},
		{101, 100, 2},
		{200, 100, 2},
		{1030, 100, 11},
	} {
		if got := datagramsIn(test.length, test.size); got != test.want {
			t.Errorf("%d bytes by %d: got %d, want %d", test.length, test.size, got, test.want)
		}
	}
}

// A burst comes as one unit when the socket joins bursts, and otherwise cut up. Both count the same.
func TestMailboxCountsDatagrams(t *testing.T) {
	for _, test := range []struct {
		name  string
		join  bool
		burst int // bytes, in datagrams of 100
		units int
		want  int
	}{
		{"joined, the last one shorter", true, 1030, 1, 11},
		{"joined, more than the buffer holds", true, 6000, 1, 60},
		{"cut up", false, 1030, 11, 11},
		{"one datagram", true, 100, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			in, out := localSocket(t), localSocket(t)
			if test.join {
				if err := in.joinBursts(); err != nil {
					t.Fatal(err)
				}
			}
			payload := bytes.Repeat([]byte("0123456789"), test.burst/10)
			sendBurst(t, out, in.local, payload, 100)
			m := newMailbox()
			units := m.receive(in)
			if units != test.units || m.datagrams(units) != test.want {
				t.Fatalf("got %d datagrams in %d units, want %d in %d", m.datagrams(units), units, test.want, test.units)
			}
			if first := m.payload(0); !bytes.Equal(first, payload[:100]) {
				t.Errorf("the first datagram is %q", first)
			}
		})
	}
}

// What an earlier batch had joined does not count for a later one in the same place.
func TestMailboxForgets(t *testing.T) {
	in, out := localSocket(t), localSocket(t)
	if err := in.joinBursts(); err != nil {
		t.Fatal(err)
	}
	m := newMailbox()
	for _, test := range []struct{ length, size, want int }{{600, 10, 60}, {500, 500, 1}, {500, 250, 2}} {
		sendBurst(t, out, in.local, make([]byte, test.length), test.size)
		if got := m.datagrams(m.receive(in)); got != test.want {
			t.Errorf("%d bytes by %d: got %d datagrams, want %d", test.length, test.size, got, test.want)
		}
	}
}

func localSocket(t *testing.T) *socket {
	t.Helper()
	s, err := bindSocket(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0))
	if errors.Is(err, unix.EPERM) {
		t.Skip("sockets of the bench need root")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// sendBurst sends a payload in datagrams of a size, with one call.
func sendBurst(t *testing.T, s *socket, to netip.AddrPort, payload []byte, size int) {
	t.Helper()
	control := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], uint16(size))
	if _, err := unix.SendmsgN(s.fd, payload, control, sockaddr(to), 0); err != nil {
		t.Fatal(err)
	}
}
