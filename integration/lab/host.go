package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Host is one machine of a lab: a network namespace.
type Host struct {
	Name string
	lab  *Lab
	ns   *os.File
}

// Do calls f on a thread that is in the host's namespace. Sockets that f opens stay in it; so do programs it starts.
// Goroutines that f starts are not in it.
func (h *Host) Do(f func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, so that no other goroutine meets it in this namespace.
		runtime.LockOSThread()
		if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter the namespace of %s: %w", h.Name, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// Run runs a command to its end and returns its standard output. The error holds what it printed on standard error.
func (h *Host) Run(timeout time.Duration, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	err := h.Do(func() error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		cmd.WaitDelay = time.Second // a helper that outlives it does not hold us up
		return cmd.Run()
	})
	if err != nil {
		err = fmt.Errorf("%s: %s: %w: %s", h.Name, strings.Join(argv, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), err
}

// Ping sends one ICMPv6 echo request and waits for its reply.
func (h *Host) Ping(addr netip.Addr, timeout time.Duration) error {
	seconds := fmt.Sprint(timeout.Seconds())
	_, err := h.Run(timeout+5*time.Second, "ping", "-6", "-n", "-c", "1", "-W", seconds, addr.String())
	return err
}

// Listen opens a TCP listener.
func (h *Host) Listen(addr string) (l net.Listener, err error) {
	err = h.Do(func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	return l, err
}

// ListenPacket opens a UDP socket.
func (h *Host) ListenPacket(addr string) (c net.PacketConn, err error) {
	err = h.Do(func() (err error) {
		c, err = net.ListenPacket("udp", addr)
		return err
	})
	return c, err
}

// Dial connects to a numeric TCP address.
func (h *Host) Dial(ctx context.Context, addr string) (c net.Conn, err error) {
	err = h.Do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
		return err
	})
	return c, err
}

// Addrs returns the addresses of an interface; none when there is no such interface.
func (h *Host) Addrs(ifname string) (addrs []netip.Addr, err error) {
	err = h.Do(func() error {
		ifi, err := net.InterfaceByName(ifname)
		if err != nil {
			// It is not there (yet, or any more).
			return nil
		}
		list, err := ifi.Addrs()
		for _, a := range list {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				addrs = append(addrs, p.Addr())
			}
		}
		return err
	})
	return addrs, err
}
