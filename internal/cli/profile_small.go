//go:build small

package cli

import (
	"context"
	"net"
)

// ProfileFlags are none: a small program has no profiles.
type ProfileFlags struct{}

func (*ProfileFlags) listenProfiles() (net.Listener, error) { return nil, nil }
func (*ProfileFlags) profilePorts() []uint16                { return nil }

func serveProfiles(context.Context, net.Listener) error { return nil }

func (*Checkup) profiles(*RunFlags) {}
