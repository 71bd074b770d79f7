//go:build linux

package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestOrder sends datagrams so fast that the kernel leaves them to the program, and then slower ones until the kernel carries them
// again, several times. They arrive in order, whoever carries them at either end.
func TestOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	addr1, ends := w.startCarriers()
	native := netip.MustParseAddr(lab.NativeAddr)
	w.ping("client1", native)
	for _, p := range ends {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.Pid()))
		for _, task := range tasks {
			id, _ := strconv.Atoi(task.Name()) // the kernel's names are numbers
			err = errors.Join(err, onOneProcessor(id))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	near := w.socket("client1", netip.AddrPortFrom(addr1, 0).String())
	far := w.socket("native", netip.AddrPortFrom(native, 0).String())
	for _, way := range []struct {
		from    string
		out, in net.PacketConn
	}{{"client1", near, far}, {"native", far, near}} {
		var err error
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			runtime.LockOSThread() // and never unlocked: the thread ends
			err = errors.Join(onOneProcessor(0), waves(way.out, way.in.LocalAddr()))
		}()
		arrived, late := inOrder(way.in, way.out.LocalAddr(), sent)
		if err != nil || late > 0 || arrived == 0 {
			t.Errorf("from %s: %d datagrams arrived, %d of them after later ones; %v", way.from, arrived, late, err)
		}
	}
}

// onOneProcessor keeps a thread on the first processor; 0 stands for the caller's. On several processors the kernel itself changes the
// order, as each has a queue of its own for what comes by virtual links.
func onOneProcessor(id int) error {
	var first unix.CPUSet
	first.Set(0)
	return os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(id, &first))
}

// waves sends numbered datagrams, fast ones and slow ones in turn.
func waves(out net.PacketConn, to net.Addr) (err error) {
	number := uint32(0)
	send := func(pause, duration time.Duration, most int) {
		start := time.Now()
		next := start
		for i := 0; i < most && time.Since(start) < duration; i++ {
			_, e := out.WriteTo(binary.BigEndian.AppendUint32(nil, number), to)
			err = errors.Join(err, e)
			number++
			for next = next.Add(pause); time.Now().Before(next); {
			}
		}
	}
	for range 4 {
		send(0, time.Second, 1000)
		send(30*time.Microsecond, 1300*time.Millisecond, 1<<20)
	}
	return err
}

// inOrder counts the datagrams that arrive, and those of them that arrive after later ones, until all are sent and none comes any more. Now
// and then it sends one, so that the path stays confirmed.
func inOrder(in net.PacketConn, to net.Addr, sent chan struct{}) (arrived, late int) {
	buf := make([]byte, 4)
	for newest := -1; ; {
		if arrived%5000 == 0 {
			_, _ = in.WriteTo([]byte{0}, to) // another one follows
		}
		// An error to set the deadline shows as one to read.
		_ = in.SetReadDeadline(time.Now().Add(time.Second))
		if n, _, err := in.ReadFrom(buf); err == nil && n == len(buf) {
			number := int(binary.BigEndian.Uint32(buf))
			arrived++
			if number < newest {
				late++
			}
			newest = max(newest, number)
			continue
		}
		select {
		case <-sent:
			return arrived, late
		default:
		}
	}
}
