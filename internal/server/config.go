package server

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/teredo-suite/teredo/teredo"
)

// Config says which IPv4 addresses a server answers at.
type Config struct {
	// Primary is the primary address of §5.3. It is in the address of every client, or Public is.
	Primary netip.Addr
	// Secondary is the other address of §5.3. It is optional: without it, solicitations with the cone bit 1 are not answered, and
	// clients cannot recognise a symmetric NAT.
	Secondary netip.Addr
	// Public and Public2 are the addresses that the Internet sees in place of Primary and Secondary when the server is behind a
	// 1:1 NAT. Zero means the same address.
	Public, Public2 netip.Addr
	// Filter says which addresses, IPv4 and native IPv6, may be sent to.
	Filter teredo.Filter
	// Secrets are those of the clients that are served. Nil: secure qualification is not required, and every client is served.
	Secrets *Secrets
	// SourceRate bounds how many datagrams a second the server sends because of one IPv4 address. Five times as many may leave at
	// once. 0: there is no bound.
	SourceRate int
	// Native is the operator's /64 that stands for the addresses of this server's clients outside of the Teredo service, as
	// teredo.NativePrefix says. The zero value means that they have their Teredo addresses there.
	Native netip.Prefix
	// StrictSource refuses bubbles whose UDP source is not the mapping in their Teredo source (RFC 4380 §5.3.1 rule 5) even
	// where RFC 6081 needs them: clients of other servers behind symmetric NATs then cannot reach clients of this one.
	StrictSource bool
	// Workers is how many sockets are opened at each address, with a worker each; 0: one.
	Workers int
	// Sockets are those that this process has taken over from another one. Nil: it has taken over none.
	Sockets Sockets
}

// ConfigError says what is wrong with a Config.
type ConfigError struct {
	Field string // of Config
	text  string
}

func (e *ConfigError) Error() string { return e.text }

func wrong(field, format string, args ...any) error {
	return &ConfigError{field, fmt.Sprintf(format, args...)}
}

// Check returns the first thing that is wrong with the configuration, as a *ConfigError.
func (c Config) Check() error {
	if err := checkBind("Primary", c.Primary); err != nil {
		return err
	}
	if c.Secondary.IsValid() {
		if err := checkBind("Secondary", c.Secondary); err != nil {
			return err
		}
		if c.Secondary == c.Primary {
			return wrong("Secondary", "the primary and the secondary address are both %v: give another secondary address, or none", c.Primary)
		}
	} else if c.Public2.IsValid() {
		return wrong("Secondary", "there is a second public address, %v, but no secondary address to listen at", c.Public2)
	}
	if err := c.checkPublic("Public", c.public()); err != nil {
		return err
	}
	if _, err := c.natives(); err != nil {
		return err
	}
	if !c.Secondary.IsValid() {
		return nil
	}
	if c.public2() == c.public() {
		return wrong("Public2", "both public addresses are %v: clients need two different ones", c.public())
	}
	return c.checkPublic("Public2", c.public2())
}

func checkBind(field string, a netip.Addr) error {
	name := strings.ToLower(field)
	switch {
	case !a.IsValid():
		return wrong(field, "no %s address is given: name an IPv4 address of this host", name)
	case !a.Is4():
		return wrong(field, "the %s address %v is not an IPv4 address", name, a)
	case a.IsUnspecified() || a.IsMulticast():
		return wrong(field, "the %s address %v is not the address of one host: name an IPv4 address of this host", name, a)
	}
	return nil
}

func (c Config) checkPublic(field string, a netip.Addr) error {
	if c.Filter.Global(a) {
		return nil
	}
	return wrong(field, "clients cannot reach %v, as it is not a public IPv4 address", a)
}

// public is the address in the clients' prefix and in the link-local address of the server.
func (c Config) public() netip.Addr {
	if c.Public.IsValid() {
		return c.Public
	}
	return c.Primary
}

// public2 is the secondary address that the Internet sees; zero without one.
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
