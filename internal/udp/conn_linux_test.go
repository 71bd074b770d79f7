package udp

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// option reads a socket option.
func option(t testing.TB, c *Conn, level, name int) (value int) {
	t.Helper()
	onSocket(t, c, func(fd int) (err error) {
		value, err = unix.GetsockoptInt(fd, level, name)
		return err
	})
	return value
}

func setOption(t testing.TB, c *Conn, level, name, value int) {
	t.Helper()
	onSocket(t, c, func(fd int) error { return unix.SetsockoptInt(fd, level, name, value) })
}

func onSocket(t testing.TB, c *Conn, f func(fd int) error) {
	t.Helper()
	fd, err := c.file.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer c.file.Release()
	if err := f(fd); err != nil {
		t.Fatal(err)
	}
}

// C-CFG-03: the Don't Fragment bit is clear. ECN-01: the outer ECN field, the
// low two bits of TOS, is zero, and nothing of the inner packet gets there (ECN-03).
// K-03, W-DISC-01: multicast has TTL 1.
func TestSocketOptions(t *testing.T) {
	c := open(t)
	for _, test := range []struct {
		name                string
		level, option, want int
	}{
		{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT},
		{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, 0},
		{"IP_MULTICAST_TTL", unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, 1},
		{"SO_BROADCAST", unix.SOL_SOCKET, unix.SO_BROADCAST, 0},
		{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 0},
	} {
		if got := option(t, c, test.level, test.option); got != test.want {
			t.Errorf("%s is %d, want %d", test.name, got, test.want)
		}
	}
}

// C-CFG-03: datagrams larger than the MTU leave as fragments. A burst of them
// cannot leave as one unit, and that does not rule out the next burst.
func TestFragments(t *testing.T) {
	smallLoopback(t, 1000)
	tx, rx := open(t), open(t)
	for _, size := range []int{1280, 900} {
		ms := messages(rx.LocalAddr(), 70, size)
		ms[69].N = 500
		write(t, tx, ms)
		expect(t, rx, tx.LocalAddr(), 16, ms)
	}
	if !tx.gso.Load() {
		t.Error("UDP_SEGMENT was given up for one path's MTU")
	}
}

// smallLoopback gives the test a loopback interface with an MTU of its own.
func smallLoopback(t *testing.T, mtu uint32) {
	t.Helper()
	newNamespace(t)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint32(mtu)
	configure(t, unix.SIOCSIFMTU, request)
	request.SetUint16(unix.IFF_UP)
	configure(t, unix.SIOCSIFFLAGS, request)
}

// newNamespace moves the test to a network namespace of its own. The thread
// ends with the test.
func newNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("network namespaces are not available:", err)
	}
}

// configure makes a request for an interface.
func configure(t *testing.T, what uint, request *unix.Ifreq) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, what, request); err != nil {
		t.Fatal(err)
	}
}

func TestRetryable(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EINTR, unix.ECONNREFUSED, unix.EHOSTUNREACH} {
		if !retryable(errno) {
			t.Errorf("%v is not retried", errno)
		}
	}
	for _, errno := range []unix.Errno{0, unix.EAGAIN, unix.EBADF, unix.EFAULT, unix.EINVAL} {
		if retryable(errno) {
			t.Errorf("%v is retried", errno)
		}
	}
}

// A group shares its address among its sockets and with nobody else, and each of its sockets gets some of the remotes.
func TestListenGroup(t *testing.T) {
	const size = 3
	group, err := ListenGroup(netip.MustParseAddrPort("127.0.0.1:0"), size, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int)
	for i, c := range group {
		defer c.Close()
		if c.LocalAddr() != group[0].LocalAddr() {
			t.Errorf("a socket is at %v, the first at %v", c.LocalAddr(), group[0].LocalAddr())
		}
		go func() {
			for ms := make([]Message, 1); ; {
				if _, err := c.ReadBatch(ms); err != nil {
					return
				}
				got <- i
			}
		}()
	}
	for other := 1; other <= 2; other++ {
		if intruders, err := ListenGroup(group[0].LocalAddr(), other, Options{}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%d sockets of another program: %v, %v", other, intruders, err)
		}
	}
	seen := make(map[int]bool)
	for range 1000 { // that one of them gets none is as good as impossible
		tx := open(t)
		if _, err := tx.WriteBatch(messages(group[0].LocalAddr(), 1, 1)); err != nil {
			t.Fatal(err)
		}
		seen[<-got] = true
		if len(seen) == size {
			return
		}
	}
	t.Errorf("only the sockets %v get anything", seen)
}
