//go:build !linux

package neighbor

import (
	"errors"
	"fmt"
	"runtime"
)

// Socket is not supported on this system.
type Socket struct{ Frames }

// Listen is not supported on this system.
func Listen(ifname string) (*Socket, error) {
	return nil, fmt.Errorf("listen for neighbor solicitations at %s on %s: %w", ifname, runtime.GOOS, errors.ErrUnsupported)
}
