package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/teredo-suite/teredo/internal/kernelpath"
	"github.com/teredo-suite/teredo/internal/memory"
	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

// CheckName says what is wrong with an interface name, if anything is.
func CheckName(name string) error {
	const longest = 15 // IFNAMSIZ without the final zero
	switch {
	case name == "" || len(name) > longest:
		return fmt.Errorf("interface name %q must have 1 to %d characters", name, longest)
	case name == "." || name == ".." || strings.ContainsAny(name, "/:% \t\n"):
		return fmt.Errorf("interface name %q must not be . or .., nor contain a slash, colon, percent sign or space", name)
	}
	return nil
}

// OpenDevice creates the TUN interface with so many queues, or with one where it can have no more. It returns the name that the
// interface has: some systems give it one of their own. The interface is gone when all queues are closed, or its process dies.
func (f *DeviceFlags) OpenDevice(name string, size int) (queues []tun.Device, actual string, err error) {
	queues, err = tun.OpenQueues(name, size, f.TUNOffload)
	if err != nil {
		return nil, "", ExplainDevice(name, err)
	}
	if named, ok := queues[0].(interface{ Name() (string, error) }); ok {
		if name, err = named.Name(); err != nil {
			return nil, "", errors.Join(err, queues[0].Close())
		}
	}
	return queues, name, nil
}

// ExplainDevice says why an interface cannot be created, and what to do.
func ExplainDevice(name string, err error) error {
	switch {
	case errors.Is(err, tun.ErrNoDevices):
		return err
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("cannot create the interface %s: run as root, or give the program CAP_NET_ADMIN: %w", name, err)
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("interface %s exists already and is in use: stop the program that has it, or choose another name with --tun: %w", name, err)
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("interface %s exists already and is no TUN interface, or one with several queues that another program has: choose another name with --tun: %w", name, err)
	}
	if _, missing := os.Stat("/dev/net/tun"); errors.Is(missing, fs.ErrNotExist) {
		return fmt.Errorf("cannot create the interface %s: /dev/net/tun is missing; load the module with 'modprobe tun', or give the container the device", name)
	}
	return fmt.Errorf("create the interface %s: %w", name, err)
}

const (
	leastKernelFlows = 1 << 12
	mostKernelFlows  = 1 << 17 // the rules must be told of each before the path is 20 s old
	// memoryPerKernelFlow is how much memory the host must have for each flow that the kernel carries at most. A flow takes about 700
	// bytes of the kernel and of the program, so all take 3 % of the memory.
	memoryPerKernelFlow = 20 << 10
)

// kernelFlows is how many flows the kernel carries at most on a host with so much available memory, 0 if that is not known.
func kernelFlows(available uint64) int {
	return int(min(max(available/memoryPerKernelFlow, leastKernelFlows), mostKernelFlows))
}

// OpenKernel has the kernel carry flows between the TUN device, whose queues are given, and the UDP port that the sockets have. Peers with
// addresses in natives have native ones at the TUN device. It returns nil where the kernel cannot and need not.
func (f *KernelFlags) OpenKernel(name string, queues []tun.Device, port []*udp.Conn, natives teredo.NativePrefixes, log *slog.Logger) (*kernelpath.Path, error) {
	if f.KernelPath == offload.Off {
		return nil, nil
	}
	available, err := memory.Available()
	if err != nil {
		log.Warn("cannot find out the available memory; the kernel carries few flows", "error", err)
	}
	path, err := kernelpath.Open(name, port[0].LocalAddr(), kernelFlows(available), natives, log)
	switch {
	case err == nil:
		err := follow(path, kernelpath.Out, queues)
		if err == nil {
			err = follow(path, kernelpath.In, port)
		}
		if err != nil {
			log.Debug("after a burst, the program keeps a flow for a second", "reason", err)
		}
		return path, nil
	case f.KernelPath == offload.On:
		return nil, fmt.Errorf("%w; use --kernel-path=auto or off", err)
	}
	log.Info("the program carries all packets instead of the kernel", "reason", err)
	return nil, nil
}

// follow has the kernel know when the program is done with packets that were left to it, if it reads them at one place.
func follow[T any](path *kernelpath.Path, direction kernelpath.Direction, places []T) error {
	place, ok := any(places[0]).(interface {
		Follow(latest func() uint64, done func(uint64))
	})
	if len(places) > 1 || !ok {
		return nil
	}
	latest, done, err := path.Follow(direction)
	if err == nil {
		place.Follow(latest, done)
	}
	return err
}
