package natsim

import "testing"

// Whoever sees a test fail gets the one command that runs it again.
func TestReplayCommand(t *testing.T) {
	Seeds(t, 1, func(t *testing.T, in *Internet) {
		const want = "go test github.com/teredo-suite/teredo/integration/natsim -count=1 -run '^TestReplayCommand$/^seed=1$'"
		if got := in.replay(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}
