//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// transferred is what iperf3 says about one TCP transfer, and when that was over.
type transferred struct {
	End struct {
		Received struct {
			Bytes   float64 `json:"bytes"`
			Seconds float64 `json:"seconds"`
		} `json:"sum_received"`
	} `json:"end"`

	ended time.Time
}

// together is what transfers brought, and its rate from the beginning of the first to the end of the last. A sum of their own
// rates would be too large: while one has not begun or has ended already, the others have more of the machine.
func together(transfers []transferred) (bytes, bitRate float64) {
	var began, ended time.Time
	for _, t := range transfers {
		bytes += t.End.Received.Bytes
		start := t.ended.Add(-time.Duration(t.End.Received.Seconds * float64(time.Second)))
		if began.IsZero() || start.Before(began) {
			began = start
		}
		if t.ended.After(ended) {
			ended = t.ended
		}
	}
	return bytes, bytes * 8 / ended.Sub(began).Seconds()
}

// bulk is one TCP stream.
type bulk struct {
	from    string
	to      netip.Addr
	reverse bool // data flows from to toward from
}

// direction is how the data of a client's stream flows: up from it, or down to it.
func (b bulk) direction() string {
	if b.reverse {
		return "down"
	}
	return "up"
}

// listen starts iperf3 as a server on a host.
func (s *scene) listen(host string) error {
	_, err := s.start(host, []string{"iperf3", "-s", "--forceflush"}, "iperf3 to listen", func() error {
		_, err := s.Host(host).Run(patience, "iperf3", "--version")
		return err
	})
	return err
}

// transfer runs streams at once and returns what they brought together.
func (s *scene) transfer(duration time.Duration, streams ...bulk) (bytes, bitRate float64, err error) {
	all := make([]transferred, len(streams))
	var group errgroup.Group
	for i, b := range streams {
		group.Go(func() error {
			argv := []string{"iperf3", "-J", "-c", b.to.String(), "-t", fmt.Sprint(int(duration.Seconds()))}
			if b.reverse {
				argv = append(argv, "-R")
			}
			out, err := s.Host(b.from).Run(duration+patience, argv...)
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			all[i].ended = time.Now()
			if err := json.Unmarshal([]byte(out), &all[i]); err != nil {
				return err
			}
			if all[i].End.Received.Bytes == 0 {
				return fmt.Errorf("nothing came from %s to %v: %s", b.from, b.to, out)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	bytes, bitRate = together(all)
	return bytes, bitRate, nil
}

// billed is transfer of one stream, with the seconds of processor time by each clock that a gigabyte (10⁹ bytes) took.
func (s *scene) billed(duration time.Duration, stream bulk, clocks ...clock) (bitRate float64, perGB []float64, err error) {
	before, err := readAll(clocks)
	if err != nil {
		return 0, nil, err
	}
	bytes, bitRate, err := s.transfer(duration, stream)
	if err != nil {
		return 0, nil, err
	}
	after, err := readAll(clocks)
	for i := range after {
		perGB = append(perGB, (after[i]-before[i]).Seconds()/(bytes/1e9))
	}
	return bitRate, perGB, err
}

func readAll(clocks []clock) (times []time.Duration, err error) {
	for _, c := range clocks {
		now, err := c()
		if err != nil {
			return nil, err
		}
		times = append(times, now)
	}
	return times, nil
}
