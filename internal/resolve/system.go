package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// systemTTL stands for the time to live, which the system's resolver does not tell.
const systemTTL = 5 * time.Minute

// lookupSystem asks the system's resolver for the IPv4 addresses of a name.
func lookupSystem(ctx context.Context, system *net.Resolver, name string) ([]netip.Addr, time.Duration, error) {
	addrs, err := system.LookupNetIP(ctx, "ip4", name)
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	failure, _ := errors.AsType[*net.DNSError](err)
	switch {
	case err == nil && len(addrs) > 0:
		return addrs, systemTTL, nil
	case err == nil:
		return nil, 0, ErrNoIPv4
	case ctx.Err() != nil:
		return nil, 0, ctx.Err()
	case failure != nil && failure.IsNotFound:
		return nil, 0, ErrNoIPv4 // nor may the name exist: the resolver does not tell
	case failure != nil && failure.IsTimeout:
		return nil, 0, ErrNoAnswer
	}
	return nil, 0, fmt.Errorf("%w: %v", ErrFailed, err)
}
