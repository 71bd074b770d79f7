package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
)

func TestHint(t *testing.T) {
	local := netip.MustParseAddrPort("192.0.2.1:3544")
	inUse := &udp.ListenError{Local: local, Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	for name, test := range map[string]struct {
		err  error
		port string
		want string
	}{
		"port in use":               {fmt.Errorf("listen: %w", inUse), "--port", "stop it, or choose another port with --port"},
		"fixed port in use":         {inUse, "", "stop it, or choose another address with --bind"},
		"no free port":              {&udp.ListenError{Local: netip.AddrPortFrom(local.Addr(), 0), Err: syscall.EADDRINUSE}, "--port", "choose an IPv4 address of this host with --bind"},
		"address of another host":   {&udp.ListenError{Local: local, Err: syscall.EADDRNOTAVAIL}, "--port", "choose an IPv4 address of this host with --bind"},
		"offload of the interface":  {fmt.Errorf("create: %w", tun.ErrNoOffload), "--port", "use --tun-offload=auto or off"},
		"segmentation of datagrams": {udp.ErrNoGSO, "--port", "use --udp-gso=auto or off"},
		"coalescing of datagrams":   {udp.ErrNoGRO, "--port", "use --udp-gro=auto or off"},
		"anything else":             {errors.New("no"), "--port", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Hint(test.err, "--bind", test.port); got != test.want {
				t.Errorf("hint %q, want %q", got, test.want)
			}
		})
	}
}

// A program's hint follows its error, whatever the exit code.
func TestProgramHint(t *testing.T) {
	for end, want := range map[string]string{
		"failed":        "teredo-test: the cable is out; plug it in\n",
		"misconfigured": "teredo-test: start: that will never work; plug it in\nSee teredo-test run --help.\n",
		"":              "",
	} {
		p := program()
		p.Hint = func(error) string { return "plug it in" }
		var out, errs strings.Builder
		p.run(t.Context(), nil, new(commands), []string{"run", "--server", "a", "--end", end}, &out, &errs)
		if errs.String() != want {
			t.Errorf("%q: %q, want %q", end, errs.String(), want)
		}
	}
}
