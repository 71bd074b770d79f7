package cli

import "github.com/coreos/go-systemd/v22/daemon"

// Ready tells systemd that the program serves from now on, with one line for "systemctl status".
// Without systemd it does nothing.
func Ready(status string) { notify(daemon.SdNotifyReady + "\nSTATUS=" + status) }

// StatusLine tells systemd a new line for "systemctl status".
func StatusLine(status string) { notify("STATUS=" + status) }

func stopping() { notify(daemon.SdNotifyStopping) }

// notify gives no error: the program works as well when systemd does not hear it, and systemd tells of its silence.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
