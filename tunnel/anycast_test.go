package tunnel_test

import (
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/server"
)

// A server may be at several sites with the same addresses and secrets. The site may change with each datagram, in the middle of a
// qualification, too: everything that an answer must fit, the nonce, the secret and the bits of the address, is the client's (ST-S-01).
func TestAnycastServer(t *testing.T) {
	qualify := func(t *testing.T, w *world, sites ...*server.Secrets) (took time.Duration, c *natsim.Client) {
		s := w.secureServer(sites...)
		start := w.Now()
		c = w.secureClient(w.NAT(natsim.PortRestricted()).Network, s, "teredo-secret")
		c.AwaitAddr(time.Minute)
		return w.Now() - start, c
	}
	site := func() *server.Secrets { return secretsOf("teredo-secret", time.Time{}) }
	scenario(t, func(t *testing.T, w *world) {
		alone, _ := qualify(t, w, site())
		took, c := qualify(t, w, site(), site())
		if took != alone {
			t.Errorf("qualified after %v, at one site after %v", took, alone)
		}
		addr := c.Addr()
		time.Sleep(time.Hour)
		if st := c.Status(); st.State != "qualified" || c.Addr() != addr || st.NAT != "restricted" || len(st.Drops) > 0 {
			t.Errorf("status %+v, address was %v", st, addr)
		}
	})
	// A site that has gone while solicitations were on their way costs as much as a lost datagram.
	scenario(t, func(t *testing.T, w *world) {
		alone, _ := qualify(t, w, site())
		if took, c := qualify(t, w, nil, site(), site(), site()); took != alone+4*time.Second {
			t.Errorf("qualified after %v, with no lost solicitation after %v: %+v", took, alone, c.Status())
		}
	})
}
