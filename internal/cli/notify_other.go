//go:build !linux

package cli

// Ready does nothing: only Linux has systemd.
func Ready(string) {}

// StatusLine does nothing: only Linux has systemd.
func StatusLine(string) {}

func stopping() {}

func notify(string) {}
