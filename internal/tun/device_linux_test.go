package tun

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/teredo"
)

const ifname = "tun-test"

// host is a network namespace with a TUN interface.
type host struct {
	Device
	t    *testing.T
	addr netip.Addr
	work chan func()
}

// newHost makes a host. Without the rights to, the test is skipped.
func newHost(t *testing.T, addr string, mode offload.Mode) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	h := &host{t: t, addr: netip.MustParseAddr(addr), work: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the host
		started <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range h.work {
			f()
		}
	}()
	if err := <-started; err != nil {
		t.Skip("network namespaces are not available:", err)
	}
	var err error
	h.do(func() {
		if h.Device, err = Open(ifname, mode); err == nil {
			err = h.configure()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		close(h.work)
	})
	return h
}

// do runs f in the host's namespace.
func (h *host) do(f func()) {
	done := make(chan struct{})
	h.work <- func() { f(); close(done) }
	<-done
}

func (h *host) configure() error {
	link, err := netlink.LinkByName(ifname)
	if err != nil {
		return err
	}
	address := &netlink.Addr{IPNet: netlink.NewIPNet(h.addr.AsSlice()), Flags: unix.IFA_F_NODAD}
	address.Mask = net.CIDRMask(64, 128)
	if err := errors.Join(netlink.LinkSetMTU(link, 1280), netlink.LinkSetUp(link), netlink.AddrAdd(link, address)); err != nil {
		return err
	}
	for { // the kernel takes its time also without duplicate address detection
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
		if err != nil || !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 }) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// connect carries packets between two hosts until the test ends.
func connect(t *testing.T, a, b *host) {
	var carriers sync.WaitGroup
	for _, way := range [][2]*host{{a, b}, {b, a}} {
		carriers.Go(func() {
			ps, packets := make([]Packet, 128), make([][]byte, 0, 128)
			for {
				n, err := way[0].ReadBatch(ps)
				if err != nil {
					if !errors.Is(err, os.ErrClosed) {
						t.Errorf("read: %v", err)
					}
					return
				}
				packets = packets[:0]
				for _, p := range ps[:n] {
					packets = append(packets, append(bytes.Clone(p.Head), p.Body...))
				}
				// IPv6 survives what is refused.
				_, _ = way[1].WriteBatch(packets)
			}
		})
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
		carriers.Wait()
	})
}

// The kernel's TCP gets everything through, with and without super-packets at either end.
func TestTCP(t *testing.T) {
	for _, modes := range [][2]offload.Mode{{offload.On, offload.On}, {offload.On, offload.Off}, {offload.Off, offload.On}} {
		t.Run(fmt.Sprint(modes), func(t *testing.T) {
			a, b := newHost(t, "fd00::1", modes[0]), newHost(t, "fd00::2", modes[1])
			if on := a.Offloads().TCP; on != (modes[0] == offload.On) {
				t.Errorf("TCP offload is %v", on)
			}
			connect(t, a, b)
			var listener net.Listener
			var out net.Conn
			var err error
			b.do(func() { listener, err = net.Listen("tcp", netip.AddrPortFrom(b.addr, 0).String()) })
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			a.do(func() { out, err = net.DialTimeout("tcp", listener.Addr().String(), 10*time.Second) })
			if err != nil {
				t.Fatal(err)
			}
			transfer(t, out, listener)
		})
	}
}

// transfer sends random bytes through a connection, and compares.
func transfer(t *testing.T, out net.Conn, listener net.Listener) {
	t.Helper()
	const size = 8 << 20
	in, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	sent, received := sha256.New(), sha256.New()
	written := make(chan error)
	go func() {
		_, err := io.Copy(io.MultiWriter(out, sent), io.LimitReader(rand.NewChaCha8([32]byte{}), size))
		written <- errors.Join(err, out.Close())
	}()
	n, err := io.Copy(received, in)
	if err := errors.Join(err, <-written); err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
		t.Error("other bytes arrived than were sent")
	}
}

// awaitWay waits until datagrams from a get to b: the kernel takes packets to a new address some time after it has accepted that, and
// loses those that come before.
func awaitWay(a, b *host) {
	a.t.Helper()
	near, far := a.listen(), b.listen()
	defer near.Close()
	defer far.Close()
	to := far.LocalAddr().(*net.UDPAddr).AddrPort()
	for range 600 {
		_, err := near.WriteToUDPAddrPort([]byte("probe"), to)
		if err == nil {
			err = far.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		}
		if err != nil {
			a.t.Fatal(err)
		}
		if _, err := far.Read(make([]byte, 10)); err == nil {
			return
		}
	}
	a.t.Fatal("no datagram gets through")
}

// A UDP burst of the local stack falls into datagrams, and datagrams that are put together arrive one by one.
func TestUDP(t *testing.T) {
	a, b := newHost(t, "fd00::1", offload.Auto), newHost(t, "fd00::2", offload.Auto)
	connect(t, a, b)
	awaitWay(a, b)
	near, far := a.listen(), b.listen()
	to := netip.AddrPortFrom(b.addr, far.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	want := random(newRand(1), 5*1000+300)
	setSegmentSize(t, near, 1000)
	if _, err := near.WriteToUDPAddrPort(want, to); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for b := make([]byte, 2000); len(got) < len(want); {
		n, err := far.Read(b)
		if err != nil || n != min(1000, len(want)-len(got)) {
			t.Fatalf("after %d bytes: a datagram of %d, %v", len(got), n, err)
		}
		got = append(got, b[:n]...)
	}
	if !bytes.Equal(got, want) {
		t.Error("other bytes arrived than were sent")
	}
}

// setSegmentSize lets the kernel cut what is sent into datagrams.
func setSegmentSize(t *testing.T, c *net.UDPConn, size int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, size)
	}); err != nil {
		t.Fatal(err)
	}
	if refused != nil {
		t.Skip("this kernel has no UDP_SEGMENT:", refused)
	}
}

func (h *host) listen() (c *net.UDPConn) {
	h.t.Helper()
	var err error
	h.do(func() { c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.addr, 0))) })
	if err == nil {
		err = c.SetDeadline(time.Now().Add(time.Minute))
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	return c
}

// When the interface is removed, or the device closed, reading ends.
func TestEnd(t *testing.T) {
	for name, end := range map[string]func(*host) error{
		"closed": func(h *host) error { return h.Close() },
		"removed": func(h *host) (err error) {
			h.do(func() {
				var link netlink.Link
				if link, err = netlink.LinkByName(ifname); err == nil {
					err = netlink.LinkDel(link)
				}
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "fd00::1", offload.Auto)
			ended := make(chan error)
			go func() {
				ps := make([]Packet, 4)
				for {
					if _, err := h.ReadBatch(ps); err != nil { // before that, the interface's own multicast
						ended <- err
						return
					}
				}
			}()
			if err := end(h); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; !errors.Is(err, os.ErrClosed) {
				t.Errorf("ReadBatch ends with %v, want os.ErrClosed", err)
			}
			if _, err := h.WriteBatch([][]byte{newFlow(protocolUDP, 1).packet(0, []byte{1})}); !errors.Is(err, os.ErrClosed) {
				t.Errorf("WriteBatch ends with %v, want os.ErrClosed", err)
			}
		})
	}
}

// A packet that the kernel refuses does not hold up the rest.
func TestRefused(t *testing.T) {
	for _, mode := range []offload.Mode{offload.Auto, offload.Off} {
		h := newHost(t, "fd00::1", mode)
		good := newFlow(protocolUDP, 1).packet(0, []byte{1})
		n, err := h.WriteBatch([][]byte{good, {0xff}, bytes.Clone(good)})
		if n != 2 || err == nil {
			t.Errorf("%v: %d packets written, %v; want 2 and a refusal", mode, n, err)
		}
	}
}

// The packets of a flow come out of one queue, in order: of that to which the other direction of the flow was written.
func TestQueues(t *testing.T) {
	const size, flows, packets = 4, 16, 50
	h := newHost(t, "fd00::1", offload.Auto)
	h.Close()
	var queues []Device
	var err error
	h.do(func() {
		if queues, err = OpenQueues(ifname, size, offload.Auto); err == nil {
			err = h.configure()
		}
	})
	if err != nil || len(queues) != size {
		t.Fatalf("%d queues: %v", len(queues), err)
	}
	h.do(func() { _, err = OpenQueues(ifname, size, offload.Auto) })
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("another program gets queues, too: %v", err)
	}
	socket := h.listen()
	for n := range flows {
		f := newFlow(protocolUDP, n)
		f.src, f.dst, f.dstPort = netip.MustParseAddr("fd00::2"), h.addr, socket.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		if _, err := queues[n%size].WriteBatch([][]byte{f.packet(0, []byte{0})}); err != nil {
			t.Fatal(err)
		}
		if _, err := socket.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		for number := range packets { // at once, as the kernel forgets the flow after 3 s
			if _, err := socket.WriteToUDPAddrPort([]byte{byte(number)}, netip.AddrPortFrom(f.src, f.srcPort)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for number, q := range queues {
		var next [flows]int
		for ps, seen := make([]Packet, 128), 0; seen < flows/size*packets; {
			n, err := q.ReadBatch(ps)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range ps[:n] {
				whole := slices.Concat(p.Head, p.Body)
				if whole[6] != protocolUDP {
					continue // the interface's own multicast
				}
				payload := whole[teredo.HeaderLen+udpHeaderLen:]
				flow := int(binary.BigEndian.Uint16(whole[teredo.HeaderLen+2:])) - int(newFlow(protocolUDP, 0).srcPort)
				if flow%size != number || int(payload[0]) != next[flow] {
					t.Fatalf("queue %d: packet %d of flow %d, after %d of it", number, payload[0], flow, next[flow])
				}
				next[flow]++
				seen++
			}
		}
		q.Close()
	}
}

// A device tells up to which packet all are read and done with, while others come.
func TestFollow(t *testing.T) {
	const total = 3000
	h := newHost(t, "fd00::1", offload.Auto)
	socket := h.listen()
	var written atomic.Uint64
	var all atomic.Bool
	done := uint64(0) // of the reader
	h.Device.(*device).Follow(written.Load, func(number uint64) {
		if number > done {
			t.Errorf("packet %d is said to be sent, and %d are", number, done)
		}
		if number == total {
			all.Store(true)
		}
	})
	go func() {
		defer h.Close()
		random := newRand(1)
		for number := 0; !all.Load(); number++ { // after total the device looks again and again
			if _, err := socket.WriteToUDPAddrPort([]byte{1}, netip.MustParseAddrPort("[fd00::2]:1")); err != nil {
				t.Error(err)
			}
			written.Store(min(uint64(number+1), total))
			if random.IntN(10) == 0 || number >= total {
				time.Sleep(time.Duration(random.IntN(300)) * time.Microsecond)
			}
		}
	}()
	for ps := make([]Packet, 128); ; {
		n, err := h.ReadBatch(ps)
		if err != nil {
			break
		}
		for _, p := range ps[:n] {
			if p.Head[6] == protocolUDP {
				done++
			}
		}
	}
}
