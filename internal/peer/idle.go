package peer

import "math"

// IdleSeconds is the time since a packet went either way; a peer with whom none ever did comes last.
func (i *Info) IdleSeconds() float64 {
	idle := math.Inf(1)
	for _, ago := range []float64{i.HeardSeconds, i.SentSeconds} {
		if ago >= 0 {
			idle = min(idle, ago)
		}
	}
	return idle
}
