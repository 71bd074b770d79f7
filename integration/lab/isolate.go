//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// marker is set in the environment of a program that Isolate started.
const marker = "TEREDO_LAB_ISOLATED"

// Isolated reports whether this process is one that Isolate started.
func Isolated() bool { return os.Getenv(marker) != "" }

// Isolate runs this program again, with the same arguments and env added to its environment, in mount, network and
// process namespaces of its own, and returns its exit code (128 and the signal's number when a signal ended it).
// There it calls Enter and may use New. An error means that it was not started.
//
// Whatever happens to the program, the kernel takes every process, interface and file of its labs with it: nothing is
// left behind by a panic, a kill or Ctrl-C. Without root it uses a user namespace, in which it is root.
func Isolate(env ...string) (int, error) {
	if err := checkMachine(); err != nil {
		return 0, err
	}
	// The child dies with the thread that started it, so this thread has to stay until the end.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(append(os.Environ(), marker+"=1"), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = namespaces()
	if err := cmd.Start(); err != nil {
		return 0, refused(err)
	}
	defer forwardSignals(cmd.Process)()

	// How it ended is in cmd.ProcessState.
	_ = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// Enter prepares the namespaces that Isolate made: a /proc of its own processes, an empty /run for the names of the
// network namespaces and for files that vanish with the program.
func Enter() error {
	if !Isolated() {
		return errors.New("lab.Enter needs a program that lab.Isolate started")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return refused(fmt.Errorf("make mounts private: %w", err))
	}
	for _, fs := range []struct{ kind, path string }{{"proc", "/proc"}, {"tmpfs", "/run"}} {
		if err := unix.Mount(fs.kind, fs.path, fs.kind, unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
			return refused(fmt.Errorf("mount %s over %s: %w", fs.kind, fs.path, err))
		}
	}
	endOnSignal()
	return os.Setenv("PATH", searchPath())
}

// endOnSignal lets SIGINT and SIGTERM end the program, which is process 1 of its namespace: the kernel spares that one
// from signals that it does not ask for.
func endOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	go func() { os.Exit(128 + int((<-signals).(syscall.Signal))) }()
}

func namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		Pdeathsig:  unix.SIGKILL,
	}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

// forwardSignals passes SIGINT and SIGTERM on to p until the returned function is called.
func forwardSignals(p *os.Process) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	go func() {
		for s := range signals {
			// An error means that the program has ended already.
			_ = p.Signal(s)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

// checkMachine says what this machine lacks for a lab.
func checkMachine() error {
	if err := os.Setenv("PATH", searchPath()); err != nil {
		return err
	}
	for _, need := range []struct{ command, pkg string }{{"ip", "iproute2"}, {"nft", "nftables"}, {"ping", "iputils-ping"}} {
		if _, err := exec.LookPath(need.command); err != nil {
			return fmt.Errorf("the lab needs the command %q: install the package %s", need.command, need.pkg)
		}
	}
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("the lab needs TUN devices (modprobe tun; mode 0666 for use without root): %w", err)
	}
	return tun.Close()
}

// refused explains why the kernel may have refused namespaces.
func refused(err error) error {
	for _, limit := range []struct{ path, value, advice string }{
		{"/proc/sys/user/max_user_namespaces", "0", "set sysctl user.max_user_namespaces above 0"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "set sysctl kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "set sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		value, readErr := os.ReadFile(limit.path)
		if readErr == nil && strings.TrimSpace(string(value)) == limit.value {
			return fmt.Errorf("this machine does not let users make namespaces: run as root, or %s: %w", limit.advice, err)
		}
	}
	return fmt.Errorf("the lab needs namespaces (in a container, run it privileged): %w", err)
}

// searchPath is PATH with the folders where system commands live, which an ordinary user's often lacks.
func searchPath() string { return os.Getenv("PATH") + ":/usr/sbin:/sbin" }
