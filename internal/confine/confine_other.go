//go:build !linux

package confine

import (
	"errors"
	"runtime"
)

// Apply confines nothing on this system.
func (p Policy) Apply() Result {
	return Result{Missing: []error{errors.New("not on " + runtime.GOOS)}}
}
