//go:build linux

package lab

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Capture is a packet capture on one host.
type Capture struct {
	File string // pcap format

	tcpdump *Process
}

// Capture records the packets of an interface ("any" for all; each packet once) that match a tcpdump filter.
func (h *Host) Capture(ifname, filter string) (*Capture, error) {
	file := filepath.Join(h.lab.folder, fmt.Sprintf("%s-%d.pcap", h.Name, len(h.lab.Processes())))
	// Without the immediate mode, packets of the last second before Stop would be missing.
	args := []string{"tcpdump", "--immediate-mode", "-U", "-n", "-i", ifname, "-w", file, "-Z", "root"}
	if ifname == "any" {
		args = append(args, "-Q", "in")
	}
	tcpdump, err := h.Start(append(args, filter)...)
	if err != nil {
		return nil, err
	}
	return &Capture{File: file, tcpdump: tcpdump}, tcpdump.Until(time.Minute, "tcpdump to listen", func() error {
		if !strings.Contains(tcpdump.Log(), "listening on") {
			return errors.New("it does not yet")
		}
		return nil
	})
}

// Stop ends the capture, after which File is complete.
func (c *Capture) Stop() error {
	if _, err := c.tcpdump.Stop(time.Minute); err != nil {
		return fmt.Errorf("end the capture: %w", err)
	}
	return nil
}
