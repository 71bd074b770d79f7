//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

const (
	atOnce = 16 // datagrams that arrive at once
	// window is how many datagrams may be unanswered at once. A socket with a receive buffer of the default size holds them.
	window = 2 * atOnce
)

// card stands for a network card of a router that is busy: it hands several datagrams at once to the kernel.
type card struct {
	program *ebpf.Program
	frames  *ebpf.Map // what comes, one after the other and from the beginning again
	state   *ebpf.Map
	memory  []byte // of state
	size    int    // of a frame
}

// Where the parts of the state are, all of eight bytes.
const (
	turns     = 0 // how often the program has run
	sent      = 8
	answered  = 16
	open      = 24 // 1 while a burst comes
	stateSize = 32
)

// newCard makes a card on which so many datagrams of the same size arrive, again and again.
func newCard(count int, write func(n int) (from, to netip.AddrPort, payload []byte)) (c *card, err error) {
	c = &card{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make the datagrams that arrive: %w", err), c.close())
		}
	}()
	buffer := gopacket.NewSerializeBuffer()
	for n := range count {
		if err := serialize(buffer, write, n); err != nil {
			return c, err
		}
		frame := buffer.Bytes()
		if c.frames == nil {
			c.size = len(frame)
			spec := ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(c.size), MaxEntries: uint32(count)}
			if c.frames, err = ebpf.NewMap(&spec); err != nil {
				return c, err
			}
		}
		if err := c.frames.Put(uint32(n), frame); err != nil {
			return c, err
		}
	}
	spec := ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: stateSize, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE}
	if c.state, err = ebpf.NewMap(&spec); err != nil {
		return c, err
	}
	if c.memory, err = unix.Mmap(c.state.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return c, err
	}
	c.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: c.instructions(count)})
	return c, err
}

// serialize writes the Ethernet frame of a datagram.
func serialize(buffer gopacket.SerializeBuffer, write func(n int) (from, to netip.AddrPort, payload []byte), n int) error {
	from, to, payload := write(n)
	ip := layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
	udp := layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	if err := udp.SetNetworkLayerForChecksum(&ip); err != nil {
		return err
	}
	ethernet := layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
	return gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, &ethernet, &ip, &udp, gopacket.Payload(payload))
}

// instructions have the next frame take the place of the one that the kernel has made, or drop it when too many are unanswered.
func (c *card) instructions(count int) asm.Instructions {
	const key, pass, drop = -4, 2, 1 // XDP_PASS, XDP_DROP
	look := func(m *ebpf.Map) asm.Instructions {
		return asm.Instructions{
			asm.LoadMapPtr(asm.R1, m.FD()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, key), asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "drop"),
		}
	}
	return slices.Concat(
		asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1), asm.StoreImm(asm.RFP, key, 0, asm.Word)},
		look(c.state),
		asm.Instructions{
			asm.Mov.Reg(asm.R7, asm.R0),
			asm.LoadMem(asm.R1, asm.R7, turns, asm.DWord),
			asm.Mov.Reg(asm.R2, asm.R1), asm.Add.Imm(asm.R2, 1), asm.StoreMem(asm.R7, turns, asm.R2, asm.DWord),
			asm.And.Imm(asm.R1, atOnce-1), asm.JNE.Imm(asm.R1, 0, "decided"),
			asm.LoadMem(asm.R1, asm.R7, sent, asm.DWord), asm.LoadMem(asm.R2, asm.R7, answered, asm.DWord), asm.Sub.Reg(asm.R1, asm.R2),
			asm.Mov.Imm(asm.R3, 0), asm.JGT.Imm(asm.R1, window-atOnce, "full"), asm.Mov.Imm(asm.R3, 1),
			asm.StoreMem(asm.R7, open, asm.R3, asm.DWord).WithSymbol("full"),
			asm.LoadMem(asm.R1, asm.R7, open, asm.DWord).WithSymbol("decided"), asm.JEq.Imm(asm.R1, 0, "drop"),
			asm.LoadMem(asm.R1, asm.R7, sent, asm.DWord),
			asm.Mov.Reg(asm.R2, asm.R1), asm.Add.Imm(asm.R2, 1), asm.StoreMem(asm.R7, sent, asm.R2, asm.DWord),
			asm.Mod.Imm(asm.R1, int32(count)), asm.StoreMem(asm.RFP, key, asm.R1, asm.Word),
		},
		look(c.frames),
		asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, 0), asm.Mov.Reg(asm.R3, asm.R0), asm.Mov.Imm(asm.R4, int32(c.size)),
			asm.FnXdpStoreBytes.Call(),
			asm.Mov.Imm(asm.R0, pass), asm.Return(),
			asm.Mov.Imm(asm.R0, drop).WithSymbol("drop"), asm.Return(),
		},
	)
}

// receive has datagrams arrive for a while, at the loopback interface of the network namespace that the thread is in.
func (c *card) receive() error {
	const turns = 1 << 18
	_, err := c.program.Run(&ebpf.RunOptions{Data: make([]byte, c.size), Repeat: turns, BatchSize: atOnce, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
	if err != nil {
		return fmt.Errorf("have datagrams arrive: %w", err)
	}
	return nil
}

// answer tells the card that datagrams were answered.
func (c *card) answer(n int) { atomic.AddUint64(c.at(answered), uint64(n)) }

// lose tells the card that what is unanswered will stay so.
func (c *card) lose() { atomic.StoreUint64(c.at(answered), atomic.LoadUint64(c.at(sent))) }

func (c *card) at(part int) *uint64 { return (*uint64)(unsafe.Pointer(&c.memory[part])) }

func (c *card) close() error {
	var err error
	if c.memory != nil {
		err = unix.Munmap(c.memory)
	}
	return errors.Join(err, c.program.Close(), c.frames.Close(), c.state.Close())
}
