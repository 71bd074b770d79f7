package server

import (
	"fmt"
	"net/netip"

	"github.com/teredo-suite/teredo/teredo"
)

// Config says which IPv4 addresses a server answers at.
type Config struct {
	// Primary is the address the service is known by; every client's address contains it (or Public).
	Primary netip.Addr
	// Secondary is the other address of RFC 4380 §5.3. It is optional: without it a solicitation with the cone bit
	// goes unanswered, and clients cannot tell a symmetric NAT.
	Secondary netip.Addr
	// Public and Public2 are the addresses the world sees in place of Primary and Secondary where the server is behind
	// a 1:1 NAT. Zero means the same address.
	Public, Public2 netip.Addr
	// Filter says which addresses, IPv4 and native IPv6, may be sent to.
	Filter teredo.Filter
	// Secrets are those of the clients that are served. Nil means that secure qualification is not required, and
	// everybody is.
	Secrets *Secrets
	// SourceRate bounds how many datagrams a second the server sends because of one IPv4 address; five times as many may leave at
	// once. 0 is no bound.
	SourceRate int
	// Native is the operator's /64 that stands for the addresses of this server's clients outside of the Teredo service, as
	// teredo.NativePrefix says. The zero value means that they have their Teredo addresses there.
	Native netip.Prefix
	// StrictSource refuses bubbles whose UDP source is not the mapping in their Teredo source (RFC 4380 §5.3.1 rule 5) even
	// where RFC 6081 needs them: clients of other servers behind symmetric NATs then cannot reach clients of this one.
	StrictSource bool
}

// Check reports the first thing that is wrong with the configuration.
func (c Config) Check() error {
	if err := checkBind("primary", c.Primary); err != nil {
		return err
	}
	if c.Secondary.IsValid() {
		if err := checkBind("secondary", c.Secondary); err != nil {
			return err
		}
		if c.Secondary == c.Primary {
			return fmt.Errorf("primary and secondary address are both %v: give --bind2 another address, or leave it out", c.Primary)
		}
	} else if c.Public2.IsValid() {
		return fmt.Errorf("a second public address %v is given without a second address to listen on: add --bind2", c.Public2)
	}
	if err := c.checkPublic(c.public(), "--public"); err != nil {
		return err
	}
	if _, err := c.natives(); err != nil {
		return err
	}
	if !c.Secondary.IsValid() {
		return nil
	}
	if c.public2() == c.public() {
		return fmt.Errorf("both public addresses are %v: clients need to see two different ones", c.public())
	}
	return c.checkPublic(c.public2(), "--public2")
}

func checkBind(name string, a netip.Addr) error {
	switch {
	case !a.IsValid():
		return fmt.Errorf("no %s address is given: name an IPv4 address of this host", name)
	case !a.Is4():
		return fmt.Errorf("the %s address %v is not an IPv4 address", name, a)
	case a.IsUnspecified() || a.IsMulticast():
		return fmt.Errorf("the %s address %v does not name one address: name an IPv4 address of this host", name, a)
	}
	return nil
}

func (c Config) checkPublic(a netip.Addr, flag string) error {
	if c.Filter.Global(a) {
		return nil
	}
	return fmt.Errorf("clients cannot reach %v, it is not a public IPv4 address: give the public one with %s, "+
		"or allow its range with --permit-ipv4", a, flag)
}

// public is the address that prefix and link-local address are made of.
func (c Config) public() netip.Addr {
	if c.Public.IsValid() {
		return c.Public
	}
	return c.Primary
}

// public2 is what the world sees of the secondary address; zero without one.
func (c Config) public2() netip.Addr {
	if c.Public2.IsValid() {
		return c.Public2
	}
	return c.Secondary
}

// natives are the native prefixes of this server's clients, of which there is at most one.
func (c Config) natives() (teredo.NativePrefixes, error) {
	if !c.Native.IsValid() {
		return nil, nil
	}
	p, err := teredo.NewNativePrefix(c.public(), c.Native)
	return teredo.NativePrefixes{p}, err
}

// prefix is the /64 that every client of this server has its address in.
func (c Config) prefix() netip.Prefix {
	return netip.PrefixFrom(teredo.Address{Server: c.public()}.Addr(), 64).Masked()
}
