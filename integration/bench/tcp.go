package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/teredo-suite/teredo/integration/lab"
)

// transferred is what iperf3 says about one TCP transfer.
type transferred struct {
	End struct {
		Received struct {
			Bytes   float64 `json:"bytes"`
			BitRate float64 `json:"bits_per_second"`
		} `json:"sum_received"`
	} `json:"end"`
}

// bulk is one TCP stream.
type bulk struct {
	from    string
	to      netip.Addr
	reverse bool // data flows from to toward from
}

// listen starts iperf3 as a server on a host.
func (s *scene) listen(host string) error {
	_, err := s.start(host, []string{"iperf3", "-s", "--forceflush"}, "iperf3 to listen", func() error {
		_, err := s.Host(host).Run(patience, "iperf3", "--version")
		return err
	})
	return err
}

// transfer runs streams at once and returns their sum.
func (s *scene) transfer(duration time.Duration, streams ...bulk) (bytes, bitRate float64, err error) {
	all := make([]transferred, len(streams))
	var group errgroup.Group
	for i, b := range streams {
		group.Go(func() error {
			argv := []string{"iperf3", "-6", "-J", "-c", b.to.String(), "-t", fmt.Sprint(int(duration.Seconds()))}
			if b.reverse {
				argv = append(argv, "-R")
			}
			out, err := s.Host(b.from).Run(duration+patience, argv...)
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return json.Unmarshal([]byte(out), &all[i])
		})
	}
	err = group.Wait()
	for _, t := range all {
		bytes += t.End.Received.Bytes
		bitRate += t.End.Received.BitRate
	}
	return bytes, bitRate, err
}

// billed is transfer, with the processor time of each program.
func (s *scene) billed(duration time.Duration, stream bulk, programs ...*lab.Process) (bytes, bitRate float64, used []time.Duration, err error) {
	before := make([]time.Duration, len(programs))
	for i, p := range programs {
		if before[i], err = processorTime(p); err != nil {
			return 0, 0, nil, err
		}
	}
	if bytes, bitRate, err = s.transfer(duration, stream); err != nil {
		return 0, 0, nil, err
	}
	for i, p := range programs {
		after, err := processorTime(p)
		if err != nil {
			return 0, 0, nil, err
		}
		used = append(used, after-before[i])
	}
	return bytes, bitRate, used, nil
}
