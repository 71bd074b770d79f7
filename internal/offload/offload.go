// Package offload has the setting of a kernel offload, by which many packets of a flow cross the kernel as one.
package offload

import "fmt"

// Mode says whether to use an offload.
type Mode uint8

const (
	Auto Mode = iota // as long as the kernel does it
	On               // or fail at the start
	Off
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
	return fmt.Errorf("%q is none of auto, on and off", text)
}
