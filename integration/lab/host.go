//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
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

// Namespace is the path of the host's network namespace, for programs that enter it by themselves.
func (h *Host) Namespace() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), h.ns.Fd()) }

// Run runs a command to its end and returns its standard output. The error holds what it printed on standard error.
//
// The output goes to files. A pipe would stay open for as long as anything that the command has started has it, or a
// process that another test is about to start, which has all our files until it becomes its program.
func (h *Host) Run(timeout time.Duration, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	stdout, err := memoryFile("stdout")
	if err != nil {
		return "", err
	}
	defer stdout.Close()
	stderr, err := memoryFile("stderr")
	if err != nil {
		return "", err
	}
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err = h.Do(cmd.Run)
	out, outErr := written(stdout)
	complaint, complaintErr := written(stderr)
	if err := errors.Join(err, outErr, complaintErr); err != nil {
		return out, fmt.Errorf("%s: %s: %w: %s", h.Name, strings.Join(argv, " "), err, strings.TrimSpace(complaint))
	}
	return out, nil
}

// memoryFile makes a file that has no place in the file system.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file for %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// written is what a file holds.
func written(f *os.File) (string, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, math.MaxInt64))
	return string(b), err
}

// Ping sends one ICMPv6 echo request and waits for its reply.
func (h *Host) Ping(addr netip.Addr, timeout time.Duration) error {
	seconds := fmt.Sprint(timeout.Seconds())
	_, err := h.Run(timeout+time.Minute, "ping", "-6", "-n", "-c", "1", "-W", seconds, addr.String())
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
