//go:build small

package cli

import (
	"context"
	"net"

	"github.com/teredo-suite/teredo/internal/handover"
)

// ProfileFlags are none: a small program has no profiles.
type ProfileFlags struct{}

func (*ProfileFlags) listenProfiles(*handover.Inheritance) (net.Listener, error) { return nil, nil }
func (*ProfileFlags) giveProfiles(*handover.Giver, net.Listener)                 {}
func (*ProfileFlags) profilePorts() []uint16                                     { return nil }

func serveProfiles(context.Context, net.Listener) error { return nil }

func (*Checkup) profiles(*RunFlags) {}
