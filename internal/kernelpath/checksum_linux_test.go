package kernelpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/teredo-suite/teredo/teredo"
)

// physical makes a flow over a physical link.
func (w *wire) physical(t *testing.T) objectFlow {
	t.Helper()
	value := w.put(t, heardJustNow, true)
	value.Physical = true
	put(t, w.Path, w.Flow, value)
	return value
}

// A datagram that others may look at has the right UDP checksum, whatever is in it.
func TestChecksum(t *testing.T) {
	w := newWire(t)
	before := w.physical(t)
	segment := tcpSegment(1000, 0)
	for _, test := range []struct {
		name   string
		packet []byte
	}{
		{"ping", w.summed(icmpv6, []byte{128, 0, 0, 0, 1, 2, 3, 4, 5, 6}, 2)},
		{"odd ping", w.summed(icmpv6, bytes.Repeat([]byte{0xff}, 999), 2)},
		{"UDP", w.summed(udp, []byte("\x12\x34\x00\x35\x00\x0d\x00\x00query"), 6)},
		{"TCP", w.summed(tcp, append(slices.Clone(segment), "GET /"...), 16)},
		{"whole MTU", w.summed(tcp, append(slices.Clone(segment), make([]byte, teredo.MTU-teredo.HeaderLen-len(segment))...), 16)},
	} {
		must(t, w.Send(test.packet))
		d := newDatagram(w.ends, test.packet)
		d.id, d.summed = uint16(before.Sent), true
		d.toMAC, d.fromMAC = [6]byte(w.far.Attrs().HardwareAddr), [6]byte(w.near.Attrs().HardwareAddr)
		if got := receive(t, w.link); !bytes.Equal(got, d.frame()) {
			t.Errorf("%s: got  %x\nwant %x", test.name, got, d.frame())
		}
		before.Sent++
	}
}

// A checksum that comes out as 0 is sent as its complement (RFC 768), and those beside it are right, too.
func TestChecksumZero(t *testing.T) {
	w := newWire(t)
	w.physical(t)
	zero := 0
	for label := range 1 << 16 {
		packet := w.summed(icmpv6, []byte{128, 0, 0, 0, 0, 0, 0, 0}, 2)
		binary.BigEndian.PutUint16(packet[2:], uint16(label))
		d := newDatagram(w.ends, packet)
		d.summed = true
		want := binary.BigEndian.Uint16(d.frame()[headersLen-2:])
		if want > 3 && want < 0xfffd {
			continue
		}
		must(t, w.Send(packet))
		if got := binary.BigEndian.Uint16(receive(t, w.link)[headersLen-2:]); got != want {
			t.Errorf("flow label %#x: checksum %#x, want %#x", label, got, want)
		}
		if want == 0xffff {
			zero++
		}
	}
	if zero == 0 {
		t.Error("none was 0")
	}
}

// tcpSegment is the header of a TCP segment from our side.
func tcpSegment(sequence, acknowledged uint32) []byte {
	b := []byte{0x30, 0x39, 0x01, 0xbb}
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint32(b, acknowledged)
	return append(b, 5<<4, 0x10, 1, 1, 0, 0, 0, 0)
}

// trial is a flow over a physical link.
type trial struct {
	*wire
	t *testing.T
}

func newTrial(t *testing.T) *trial {
	w := &trial{newWire(t), t}
	w.physical(t)
	return w
}

// burst offers a super-packet of two segments of TCP to the kernel's program, and reports whether that takes it. It cannot go on
// from there, as the kernel makes no super-packet for a test.
func (w *trial) burst(sequence uint32) bool {
	w.t.Helper()
	w.expire(func(f *objectFlow) { f.Out.Until = 0 })
	verdict, _ := runProgram(w.t, w.objects.Outgoing, w.frameOf(tcp, append(tcpSegment(sequence, 1), make([]byte, 1900)...)), superPacket(1000))
	return verdict != next
}

func (w *trial) frameOf(next byte, payload []byte) []byte {
	return slices.Concat(make([]byte, ethernetLen-2), []byte{0x86, 0xdd}, w.ipv6(next, payload))
}

// single has one segment leave.
func (w *trial) single(sequence uint32, size int) {
	w.t.Helper()
	runProgram(w.t, w.objects.Outgoing, w.frameOf(tcp, append(tcpSegment(sequence, 1), make([]byte, size)...)), nil)
}

// acknowledge has an acknowledgement of the peer come in.
func (w *trial) acknowledge(number uint32) {
	w.t.Helper()
	b := tcpSegment(1, number)
	copy(b, []byte{0x01, 0xbb, 0x30, 0x39})
	runProgram(w.t, w.objects.Incoming, newDatagram(w.swapped(), w.swapped().ipv6(tcp, b)).frame(), nil)
}

// expire changes the flow.
func (w *trial) expire(change func(*objectFlow)) {
	w.t.Helper()
	f := get(w.t, w.Path, w.Flow)
	change(&f)
	put(w.t, w.Path, w.Flow, f)
}

// known is what is known about datagrams without a UDP checksum.
func (w *trial) known() (b objectNoChecksum) {
	w.t.Helper()
	if err := w.objects.NoChecksums.Lookup(ipv4(w.ends.far.Addr()), &b); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		w.t.Fatal(err)
	}
	return b
}

// since changes what is known about datagrams without a checksum, as if time had passed.
func (w *trial) since(age time.Duration) {
	w.t.Helper()
	b := w.known()
	if b.Answered != 0 {
		b.Answered -= uint64(age)
	}
	b.Retry -= min(b.Retry, uint64(age))
	must(w.t, w.objects.NoChecksums.Put(ipv4(w.ends.far.Addr()), &b))
}

func (w *trial) want(sequence uint32, taken bool, when string) {
	w.t.Helper()
	if got := w.burst(sequence); got != taken {
		w.t.Errorf("%s: the kernel takes a burst: %v", when, got)
	}
}

const day = 24 * time.Hour

// The first burst of TCP leaves without a checksum, and no other does until it is acknowledged. Then they all do, so does what
// has a checksum that cannot be told, and what is known counts for minutes.
func TestTrialAnswered(t *testing.T) {
	w := newTrial(t)
	fragment := w.frameOf(44, make([]byte, 100))
	if verdict, _ := runProgram(t, w.objects.Outgoing, fragment, nil); verdict != next {
		t.Error("the kernel takes a fragment without knowing anything")
	}
	w.want(1000, true, "at first")
	w.want(2900, false, "while the first is under way")
	w.acknowledge(1000)
	w.want(2900, false, "before it is acknowledged")
	w.acknowledge(2000)
	w.want(2900, true, "after that")
	w.want(4800, true, "and again")
	if verdict, _ := runProgram(t, w.objects.Outgoing, fragment, nil); verdict != redirect {
		t.Error("the kernel takes no fragment")
	}
	w.since(4 * time.Minute)
	w.want(6700, true, "minutes later")
	w.since(day)
	w.want(8600, false, "a day later, while one is under way")
}

// What the program gets because of a trial it gets for a while with all that follows, so it stays in order.
func TestTrialInOrder(t *testing.T) {
	w := newTrial(t)
	w.want(1000, true, "at first")
	w.want(2900, false, "then")
	packet := w.summed(icmpv6, make([]byte, 30), 2)
	for later, left := range map[time.Duration]bool{time.Hour: false, 0: true} {
		w.expire(func(f *objectFlow) {
			if f.Out.Until == 0 {
				t.Error("nothing is kept in order")
			}
			f.Out.Until = uint64(bootTime(time.Now().Add(later)))
		})
		if verdict, _ := runProgram(t, w.objects.Outgoing, slices.Concat(make([]byte, ethernetLen-2), []byte{0x86, 0xdd}, packet), nil); (verdict == redirect) != left {
			t.Errorf("%v before the time: verdict %d", later, verdict)
		}
	}
}

// A burst that comes again was lost. The program gets the bursts then, and the next is tried later and later.
func TestTrialLost(t *testing.T) {
	for again, lost := range map[string]func(w *trial){
		"whole":                     func(w *trial) { w.burst(1000) },
		"its first segment":         func(w *trial) { w.single(1000, 1000) },
		"with what was before it":   func(w *trial) { w.single(990, 11) },
		"acknowledged later":        func(w *trial) { w.single(1000, 1000); w.acknowledge(5000) },
		"and its connection closed": func(w *trial) { w.single(1000, 1); w.expire(func(f *objectFlow) { f.Trial = 0 }) },
	} {
		t.Run(again, func(t *testing.T) {
			w := newTrial(t)
			var log bytes.Buffer
			w.log = slog.New(slog.NewTextHandler(&log, nil))
			w.want(1000, true, "at first")
			for failures := uint64(1); failures <= 12; failures++ {
				lost(w)
				if b := w.known(); b.Answered != 0 || b.Failures != min(failures, 9) {
					t.Fatalf("after failure %d: %+v", failures, b)
				}
				w.want(2900, false, "after the loss")
				w.since(time.Second)
				w.want(2900, false, "too early")
				w.since(day)
				w.want(1000, true, "later")
			}
			for range 2 {
				usage, err := w.Usage(w.Flow)
				if err != nil || !usage.NoBursts {
					t.Errorf("usage %+v, %v", usage, err)
				}
			}
			if n := strings.Count(log.String(), "to=192.0.2.2"); n != 1 {
				t.Errorf("logged %d times: %s", n, &log)
			}
			w.acknowledge(1001)
			w.want(2900, true, "when one got through")
		})
	}
}

// Other packets say nothing about the one on trial.
func TestTrialOpen(t *testing.T) {
	for name, other := range map[string]func(w *trial){
		"before it":                     func(w *trial) { w.single(900, 100) },
		"after it":                      func(w *trial) { w.single(1001, 100) },
		"an acknowledgement without it": func(w *trial) { w.single(1000, 0) },
		"of another connection": func(w *trial) {
			b := append(tcpSegment(1000, 1), make([]byte, 100)...)
			b[0]++
			runProgram(t, w.objects.Outgoing, w.frameOf(tcp, b), nil)
		},
		"of the peer's, to another connection": func(w *trial) {
			b := tcpSegment(1, 5000)
			copy(b, []byte{0x01, 0xbb, 0x30, 0x3a})
			runProgram(t, w.objects.Incoming, newDatagram(w.swapped(), w.swapped().ipv6(tcp, b)).frame(), nil)
		},
		"of the peer's, for what was before": func(w *trial) { w.acknowledge(1000) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newTrial(t)
			w.want(1000, true, "at first")
			other(w)
			if b := w.known(); b != (objectNoChecksum{}) || get(t, w.Path, w.Flow).Trial == 0 {
				t.Errorf("%+v, flow %+v", b, get(t, w.Path, w.Flow))
			}
			w.expire(func(f *objectFlow) { f.Trial -= uint64(3 * time.Second) })
			w.want(2900, true, "when nothing was heard of it for long")
		})
	}
}

// While others get through a loss is nothing but that. It counts when none did for 2 s: the way has changed.
func TestTrialLoss(t *testing.T) {
	w := newTrial(t)
	w.want(1000, true, "at first")
	w.acknowledge(2000)
	w.want(2900, true, "then")
	w.single(2900, 1000)
	w.want(4800, true, "after a loss")
	w.since(3 * time.Second)
	w.single(4800, 1000)
	w.want(6700, false, "after a loss when none got through")
}

// Bytes count with the headers of every segment.
func TestSuperPacketBytes(t *testing.T) {
	w := newTrial(t)
	before := get(t, w.Path, w.Flow)
	w.want(1000, true, "at first")
	now := get(t, w.Path, w.Flow)
	if packets, size := now.Sent-before.Sent, now.SentBytes-before.SentBytes; packets != 2 || size != 2*60+1900 {
		t.Errorf("%d packets of %d bytes sent", packets, size)
	}
}
