//go:build !linux

package traffic

import "errors"

// Supported tells whether this system has such counters.
const Supported = false

// Source is not supported on this system.
type Source struct{}

// Open is not supported on this system.
func Open(string, func() (inner, outer uint64)) (*Source, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (*Source) Close() {}

// Read is not supported on this system.
func (*Source) Read() (Reading, error) { return Reading{}, errors.ErrUnsupported }
