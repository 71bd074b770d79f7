//go:build linux

package main

import "math"

// trials is how often a rate may be tried. The generator shares the processors with what it measures, and the machine has
// other work: one bad trial says little, three do.
const trials = 3

// least is the rate below which nothing is looked for.
const least = 100.0

// highest finds the highest rate that passes, to within a factor: it doubles until one fails, and then halves the distance, by
// factors. What it has found must pass once more, so that no rate counts that passed by luck.
func highest(start, factor float64, passes func(rate float64) (bool, error)) (float64, error) {
	low, high, rate := 0.0, 0.0, start
	for {
		passed, err := best(rate, passes)
		if err != nil {
			return 0, err
		}
		if passed {
			low = rate
		} else {
			high = rate
		}
		switch {
		case high == 0:
			rate = 2 * low
		case high < least:
			return 0, nil
		case low == 0:
			rate = high / 2
		case high/low < factor:
			return confirmed(low, factor, passes)
		default:
			rate = math.Sqrt(low * high)
		}
	}
}

// confirmed goes down from a rate until one passes again.
func confirmed(rate, factor float64, passes func(rate float64) (bool, error)) (float64, error) {
	for rate >= least {
		passed, err := best(rate, passes)
		if err != nil || passed {
			return rate, err
		}
		rate /= factor
	}
	return 0, nil
}

// best reports whether a rate passes in one of its trials.
func best(rate float64, passes func(rate float64) (bool, error)) (bool, error) {
	for range trials {
		if passed, err := passes(rate); passed || err != nil {
			return passed, err
		}
	}
	return false, nil
}
