package tunnel

import (
	"context"
	"net/netip"
	"time"
)

// SetSecret changes what the client shares with its servers for secure qualification (RFC 4380 §5.2.2), and asks the server
// in use at once. It fails when the two cannot be an identifier and a secret.
func (c *Client) SetSecret(ctx context.Context, clientID, secret []byte) error {
	var refused error
	err := c.call(ctx, func(now time.Time) { refused = c.setSecret(now, clientID, secret) })
	if err != nil {
		return err
	}
	return refused
}

func (c *Client) setSecret(now time.Time, clientID, secret []byte) error {
	if c.qualifier != nil {
		if err := c.qualifier.SetSecret(now, clientID, secret, &c.out.UDP); err != nil {
			return err
		}
	}
	c.cfg.ClientID, c.cfg.Secret = clientID, secret
	if c.determination.running() { // begins anew with the new secret
		c.determination.mapped = netip.AddrPort{}
	}
	return nil
}
