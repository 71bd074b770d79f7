package natsim

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// streamPort is the UDP source port of a stream's packets. The destination port is the stream's number.
const streamPort = 10

// Stream is a flow of numbered packets, one after the other at a fixed pace, in one direction.
type Stream struct {
	in    *Internet
	from  *Stack
	to    netip.Addr
	port  uint16
	every time.Duration
	count int
	sent  []time.Duration
	got   []arrival
}

type arrival struct {
	number int
	at     time.Duration
}

// Stream begins to send count packets, the first one now.
func (s *Stack) Stream(to netip.Addr, every time.Duration, count int) (f *Stream) {
	s.in.do(func() {
		f = &Stream{in: s.in, from: s, to: to, port: uint16(len(s.in.streams)), every: every, count: count}
		s.in.streams = append(s.in.streams, f)
		f.next()
	})
	return f
}

// next sends one packet. A stack without an address sends nothing, which counts as a packet lost.
func (f *Stream) next() {
	if src := f.from.addr(); src.IsValid() {
		number := binary.BigEndian.AppendUint32(nil, uint32(len(f.sent)))
		f.from.out(dataPacket(netip.AddrPortFrom(src, streamPort), netip.AddrPortFrom(f.to, f.port), number))
	}
	f.sent = append(f.sent, f.in.Now())
	if len(f.sent) < f.count {
		f.in.clock.after(f.every, f.next)
	}
}

// streamed notes the arrival of a stream's packet.
func (in *Internet) streamed(port uint16, data []byte) {
	if int(port) < len(in.streams) && len(data) == 4 {
		f := in.streams[port]
		f.got = append(f.got, arrival{number: int(binary.BigEndian.Uint32(data)), at: in.Now()})
	}
}

// Wait waits until the last packet was sent, and as much longer as the grace says.
func (f *Stream) Wait(grace time.Duration) {
	time.Sleep(time.Duration(f.count-1)*f.every + grace)
	f.in.Settle()
}

// Delays are the delays of the packets that have arrived, by number.
func (f *Stream) Delays() map[int]time.Duration {
	delays := make(map[int]time.Duration)
	f.in.do(func() {
		for _, a := range f.got {
			delays[a.number] = a.at - f.sent[a.number]
		}
	})
	return delays
}

// Lost are the numbers of the packets that were sent and have not arrived.
func (f *Stream) Lost() (numbers []int) {
	delays := f.Delays()
	f.in.do(func() {
		for number := range f.sent {
			if _, ok := delays[number]; !ok {
				numbers = append(numbers, number)
			}
		}
	})
	return numbers
}

// InOrder reports whether the packets have arrived in the order in which they were sent, none of them twice.
func (f *Stream) InOrder() bool {
	ordered := true
	f.in.do(func() {
		for i := 1; i < len(f.got); i++ {
			ordered = ordered && f.got[i-1].number < f.got[i].number
		}
	})
	return ordered
}
