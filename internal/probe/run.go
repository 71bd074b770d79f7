package probe

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/teredo-suite/teredo/internal/udp"
)

// Conn is a UDP port, see udp.Conn.
type Conn interface {
	ReadBatch(ms []udp.Message) (int, error)
	WriteBatch(ms []udp.Message) (int, error)
	LocalAddr() netip.AddrPort
	Close() error
}

// Run probes. It fails when no port can be opened, or when ctx ends. When no server works, only the report tells.
func Run(ctx context.Context, cfg Config) (Report, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	m := newMachine(cfg)
	p, err := openPorts(cfg.Open, m.ports)
	if err != nil {
		return Report{}, err
	}
	defer p.close()
	gateway := tryPortMap(ctx, &cfg, m.usable())
	err = p.probe(ctx, m, &cfg)
	mapping := gateway.wait(cfg.Progress)
	if err != nil {
		return Report{}, err
	}
	return m.report(time.Now(), mapping), nil
}

// ports are the UDP ports of a probe.
type ports struct {
	conns    []Conn
	arrivals chan arrival
	stop     chan struct{}
	readers  sync.WaitGroup
}

// arrival is a datagram that came to a port.
type arrival struct {
	port    int
	from    netip.AddrPort
	payload []byte
}

func openPorts(open func() (Conn, error), count int) (*ports, error) {
	p := &ports{arrivals: make(chan arrival), stop: make(chan struct{})}
	for port := range count {
		conn, err := open()
		if err != nil {
			p.close()
			return nil, err
		}
		p.conns = append(p.conns, conn)
		p.readers.Go(func() { p.read(port, conn) })
	}
	return p, nil
}

// close closes the ports.
func (p *ports) close() {
	close(p.stop)
	for _, c := range p.conns {
		_ = c.Close() // nothing could be lost
	}
	p.readers.Wait()
}

// read passes on what comes to a port until it is closed.
func (p *ports) read(port int, conn Conn) {
	const batch, longest = 8, 2048
	ms := make([]udp.Message, batch)
	for i := range ms {
		ms[i].Buf = make([]byte, longest)
	}
	for {
		n, err := conn.ReadBatch(ms)
		if err != nil {
			return // closed, or broken: then its answers are missing
		}
		for _, m := range ms[:n] {
			select {
			case p.arrivals <- arrival{port, m.Remote, slices.Clone(m.Buf[:m.N])}:
			case <-p.stop:
				return
			}
		}
	}
}

// probe runs the machine until it waits for nothing more.
func (p *ports) probe(ctx context.Context, m *machine, cfg *Config) error {
	now := time.Now()
	if err := m.start(now, cfg, p.numbers()); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	told := ""
	for {
		p.send(m)
		waits := m.waits(now)
		if len(waits) == 0 {
			return nil
		}
		if what := waitsFor(waits); what != told {
			told = what
			cfg.Progress(what)
		}
		timer.Reset(m.deadline(now).Sub(now))
		select {
		case <-ctx.Done():
			return errors.New("interrupted")
		case a := <-p.arrivals:
			now = time.Now()
			m.inbound(now, a.port, a.from, a.payload)
		case <-timer.C:
			now = time.Now()
		}
		m.tick(now)
	}
}

// numbers are the port numbers.
func (p *ports) numbers() (numbers []uint16) {
	for _, c := range p.conns {
		numbers = append(numbers, c.LocalAddr().Port())
	}
	return numbers
}

// send sends the datagrams of the machine.
func (p *ports) send(m *machine) {
	for _, d := range m.out {
		_, err := p.conns[d.port].WriteBatch([]udp.Message{{Buf: d.payload, N: len(d.payload), Remote: d.to}})
		if err != nil {
			m.refused(d.to, err)
		}
	}
	m.out = nil
}
