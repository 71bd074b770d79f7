// Package offload has the setting of a kernel offload, with which many packets of a flow cross the kernel as one.
package offload

import "fmt"

// Mode tells whether to use an offload.
type Mode uint8

const (
	Auto Mode = iota // use it if the kernel has it
	On               // use it, and fail if the kernel does not have it
	Off              // do not use it
)

var names = [...]string{Auto: "auto", On: "on", Off: "off"}

func (m Mode) String() string { return names[m] }

// UnmarshalText parses auto, on or off.
func (m *Mode) UnmarshalText(text []byte) error {
	for mode, name := range names {
		if name == string(text) {
			*m = Mode(mode)
			return nil
		}
	}
	return fmt.Errorf("%q is not auto, on or off", text)
}
