package netcfg

import (
	"context"
	"encoding/binary"
	"fmt"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

const (
	// debounce is how long a change waits for others to come with it: an interface that goes up causes many.
	debounce = 20 * time.Millisecond
	// changesPerSecond is how many changes are told in the long run, and at once. Each makes the receiver ask the kernel, or a server.
	changesPerSecond = 5
)

// Watch tells of changes of the host's links, addresses and routes, and of jumps of its clock, from now until ctx ends,
// which closes the channel. Those that come together are told together, and those that wait for a slow receiver too.
// What happens at the interface own is told as such, whoever does it, and as nothing else; with "" no interface is our own.
func Watch(ctx context.Context, own string) (<-chan Change, error) {
	index := 0 // no interface has this one
	if own != "" {
		link, err := findLink(own)
		if err != nil {
			return nil, err
		}
		index = link.Attrs().Index
	}
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE,
		unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE)
	if err != nil {
		return nil, fmt.Errorf("subscribe to changes of the network: %w", err)
	}
	clock, err := openClock()
	if err != nil {
		socket.Close()
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		socket.Close()
		clock.Close()
	})
	events, changes := make(chan Change), make(chan Change)
	go watchNetwork(ctx, socket.Receive, index, events)
	go watchClock(ctx, clock, events)
	go debounced(ctx, events, changes)
	return changes, nil
}

// watchNetwork turns the kernel's messages into events until ctx ends and receive fails. Any other failure means that
// messages are lost, mostly because the kernel had no room for them (ENOBUFS): then anything may have changed.
func watchNetwork(ctx context.Context, receive func() ([]syscall.NetlinkMessage, *unix.SockaddrNetlink, error), own int,
	events chan<- Change) {
	for {
		messages, _, err := receive()
		if ctx.Err() != nil {
			return
		}
		var c Change
		if err != nil {
			c = Change{Links: true, Addresses: true, Routes: true, Own: own != 0}
		}
		for _, m := range messages {
			c = c.with(changeIn(m, own))
		}
		if c == (Change{}) {
			continue
		}
		select {
		case events <- c:
		case <-ctx.Done():
		}
		if err != nil { // what fails again at once must not keep the processor busy
			select {
			case <-time.After(debounce):
			case <-ctx.Done():
			}
		}
	}
}

// changeIn says what a message is about. own is the index of our own interface.
func changeIn(m syscall.NetlinkMessage, own int) Change {
	var c Change
	var at []byte // index of the interface
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		c.Links = true
		at = m.Data[min(4, len(m.Data)):] // of struct ifinfomsg
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		c.Addresses = true
		at = m.Data[min(4, len(m.Data)):] // of struct ifaddrmsg
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		c.Routes = true
		at = routeInterface(m)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		c.Routes = true
	}
	if len(at) >= 4 && binary.NativeEndian.Uint32(at) == uint32(own) {
		return Change{Own: true}
	}
	return c
}

// routeInterface returns the index of the interface that the route in the message leads to, nil if it does not lead to one.
func routeInterface(m syscall.NetlinkMessage) []byte {
	if len(m.Data) < unix.SizeofRtMsg {
		return nil
	}
	attributes, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return nil
	}
	for _, a := range attributes {
		if a.Attr.Type == unix.RTA_OIF {
			return a.Value
		}
	}
	return nil
}

// debounced passes events on, together with those that come soon after, and later when many have come before.
func debounced(ctx context.Context, events <-chan Change, changes chan<- Change) {
	defer close(changes)
	limit := rate.NewLimiter(changesPerSecond, changesPerSecond)
	var change Change
	var ripe <-chan time.Time // set while change waits for more
	var to chan<- Change      // set when change waits for its receiver
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-events:
			change = change.with(event)
			if ripe == nil && to == nil {
				ripe = time.After(max(debounce, limit.Reserve().Delay()))
			}
		case <-ripe:
			ripe, to = nil, changes
		case to <- change:
			change, to = Change{}, nil
		}
	}
}
