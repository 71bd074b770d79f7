package tunnel

import (
	"context"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

const configureRetry = 5 * time.Second

// ownAddress is the Teredo address of the interface. A goroutine owns it, keepAddress, since an interface takes its time to get an
// address.
type ownAddress struct {
	latest   slot[netip.Addr]           // that the interface is to have
	requests chan func(addr netip.Addr) // to be called by the owner with the address that the interface has

	// Of the control goroutine.
	wanted     netip.Addr
	configured netip.Addr    // the address that the interface has
	recalling  bool          // it does not change before the kernel carries no flows of the old one
	err        error         // why the interface has not got the address
	retry      time.Time     // when to try again; zero: no need
	told       [2]netip.Addr // what Addresses of ClientConfig was told last
}

func (a *ownAddress) deadline() (time.Time, bool) { return a.retry, !a.retry.IsZero() }

// setAddress has the owner give the interface an address. Nothing uses it until the interface has it.
func (c *Client) setAddress(now time.Time, address netip.Addr) {
	a := &c.address
	if address != a.wanted || !a.retry.IsZero() && !now.Before(a.retry) {
		a.wanted, a.retry, a.recalling = address, time.Time{}, true
		c.kernel.takeAllBack()
		c.peers.SetAddress(netip.Addr{})
	}
	if a.recalling && c.kernel.idle() {
		a.recalling = false
		a.latest.put(address)
	}
}

// keepAddress configures the interface, and restores it, until ctx ends.
func (c *Client) keepAddress(ctx context.Context) error {
	var has netip.Addr
	for {
		select {
		case <-ctx.Done():
			return nil
		case request := <-c.address.requests:
			request(has)
		case address := <-c.address.latest:
			err := c.cfg.Configure(has, address)
			if err == nil {
				has = address
			}
			if c.call(ctx, func(now time.Time) { c.configured(now, address, err) }) != nil {
				return nil
			}
		}
	}
}

// configured takes what has come of an address, which may not be the one that is wanted any more.
func (c *Client) configured(now time.Time, address netip.Addr, err error) {
	a := &c.address
	if err == nil {
		a.configured = address
	}
	if address != a.wanted {
		return
	}
	if a.err = err; err != nil {
		c.cfg.Log.Error("cannot configure the interface, trying again", "error", err)
		a.retry = now.Add(configureRetry)
		return
	}
	if last, ok := teredo.ParseAddress(address); ok {
		c.last = last
	}
	c.peers.SetAddress(address)
}

// tellAddresses tells Addresses of ClientConfig what has changed. It waits while the interface still has another address,
// and for the native address, so that a name does not get the Teredo address first for a moment.
func (c *Client) tellAddresses(s qualify.Status) {
	a := &c.address
	addresses := [2]netip.Addr{s.Address, s.Native}
	if c.cfg.Addresses == nil || addresses == a.told || s.Address != a.configured || s.Address.IsValid() && !s.NativeAsked {
		return
	}
	a.told = addresses
	c.cfg.Addresses(s.Address, s.Native)
}

// RestoreInterface gives the interface back what others have taken from it, and says what that was.
func (c *Client) RestoreInterface(ctx context.Context) (lost []string, err error) {
	done := make(chan struct{})
	select {
	case c.address.requests <- func(addr netip.Addr) { lost, err = c.cfg.Restore(addr); close(done) }:
		<-done
		return lost, err
	case <-c.stopped:
		return nil, context.Canceled
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
