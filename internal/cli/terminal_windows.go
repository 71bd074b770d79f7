package cli

import (
	"os"

	"golang.org/x/sys/windows"
)

// terminalSize returns how many lines a console has, and has it heed escape sequences; ok is false for other files, and for consoles that
// know none.
func terminalSize(f *os.File) (n int, ok bool) {
	console := windows.Handle(f.Fd())
	var info windows.ConsoleScreenBufferInfo
	var mode uint32
	if windows.GetConsoleScreenBufferInfo(console, &info) != nil || windows.GetConsoleMode(console, &mode) != nil ||
		windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) != nil {
		return 0, false
	}
	return int(info.Window.Bottom-info.Window.Top) + 1, true
}

// signalName is the name of a signal, such as interrupt.
func signalName(s os.Signal) string { return s.String() }
