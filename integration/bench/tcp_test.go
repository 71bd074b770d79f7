//go:build linux

package main

import (
	"testing"
	"time"
)

func TestTogether(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	transfer := func(bytes, from, to float64) (one transferred) {
		one.End.Received.Bytes, one.End.Received.Seconds = bytes, to-from
		one.ended = now.Add(time.Duration(to * float64(time.Second)))
		return one
	}
	for _, test := range []struct {
		name           string
		transfers      []transferred
		bytes, bitRate float64
	}{
		{"one", []transferred{transfer(1000, 3, 5)}, 1000, 4000},
		{"two at once", []transferred{transfer(1000, 3, 5), transfer(500, 3, 5)}, 1500, 6000},
		{"one after the other", []transferred{transfer(1000, 4, 5), transfer(1000, 3, 4)}, 2000, 8000},
		{"one within the other", []transferred{transfer(1000, 1, 5), transfer(1000, 2, 3)}, 2000, 4000},
	} {
		if bytes, bitRate := together(test.transfers); bytes != test.bytes || bitRate != test.bitRate {
			t.Errorf("%s: got %g bytes at %g bit/s, want %g at %g", test.name, bytes, bitRate, test.bytes, test.bitRate)
		}
	}
}
