//go:build linux

package main

import (
	"errors"
	"testing"
)

func TestHighest(t *testing.T) {
	for _, limit := range []float64{150, 39_999, 40_000, 70_000, 500_000} {
		got, err := highest(40_000, 1.05, func(rate float64) (bool, error) { return rate <= limit, nil })
		if err != nil || got > limit || got < limit/1.05 {
			t.Errorf("limit %g: got %g, %v", limit, got, err)
		}
	}
	got, err := highest(40_000, 1.05, func(float64) (bool, error) { return false, nil })
	if got != 0 || err != nil {
		t.Errorf("nothing passes: got %g, %v", got, err)
	}
}

// One trial in three that passes is enough, and one time that a rate passed by luck is not.
func TestHighestInNoise(t *testing.T) {
	const limit = 100_000
	calls := 0
	got, err := highest(40_000, 1.2, func(rate float64) (bool, error) {
		calls++
		return rate <= limit && calls%3 == 0, nil
	})
	if err != nil || got > limit || got < limit/1.2 {
		t.Errorf("two bad trials of three: got %g, %v", got, err)
	}
	lucky := map[float64]bool{80_000: true}
	got, err = highest(40_000, 1.2, func(rate float64) (bool, error) {
		passed := rate <= 60_000 || lucky[rate]
		delete(lucky, rate)
		return passed, nil
	})
	if err != nil || got > 60_000 || got < 60_000/1.2 {
		t.Errorf("a lucky trial: got %g, %v", got, err)
	}
}

func TestHighestFails(t *testing.T) {
	broken := errors.New("broken")
	for healthy := range 8 {
		calls := 0
		_, err := highest(40_000, 1.2, func(rate float64) (bool, error) {
			if calls++; calls > healthy {
				return false, broken
			}
			return rate <= 50_000, nil
		})
		if !errors.Is(err, broken) {
			t.Errorf("after %d trials: %v", healthy, err)
		}
	}
}
