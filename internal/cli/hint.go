package cli

import (
	"errors"
	"syscall"

	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
)

// Hint says what to do about an error of the packages that all programs use. addresses names the flags for the local address,
// port the flag for the UDP port, if there is one.
func Hint(err error, addresses, port string) string {
	listen, ok := errors.AsType[*udp.ListenError](err)
	switch {
	case errors.Is(err, tun.ErrNoOffload):
		return "use --tun-offload=auto or off"
	case errors.Is(err, udp.ErrNoGSO):
		return "use --udp-gso=auto or off"
	case errors.Is(err, udp.ErrNoGRO):
		return "use --udp-gro=auto or off"
	case !ok:
		return ""
	case port == "" && errors.Is(err, syscall.EADDRINUSE):
		return "stop it, or choose another address with " + addresses
	case errors.Is(err, syscall.EADDRINUSE) && listen.Local.Port() != 0:
		return "stop it, or choose another port with " + port
	}
	return "choose an IPv4 address of this host with " + addresses
}
