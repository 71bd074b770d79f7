//go:build small

package cli

import (
	"context"
	"net"

	"github.com/teredo-suite/teredo/internal/succession"
)

// ProfileFlags are none: a small program has no profiles.
type ProfileFlags struct{}

func (*ProfileFlags) listenProfiles(*succession.Inheritance) (net.Listener, error) { return nil, nil }
func (*ProfileFlags) giveProfiles(*succession.Giver, net.Listener)                 {}
func (*ProfileFlags) profilePorts() []uint16                                       { return nil }

func serveProfiles(context.Context, net.Listener) error { return nil }

func (*Checkup) profiles(*RunFlags) {}
