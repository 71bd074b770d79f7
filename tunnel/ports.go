package tunnel

import (
	"sync"
	"sync/atomic"

	"github.com/teredo-suite/teredo/internal/udp"
)

// mostPorts is how many random ports a client has open at a time, one for each peer that needs it (RFC 6081 §5.4).
const mostPorts = 32

// ports are the UDP sockets of a pump. The first is the service port; the control goroutine opens and closes the others.
type ports struct {
	open    func() (Conn, error) // opens a socket at a random port; nil: there is only the service port
	conns   [1 + mostPorts]atomic.Pointer[Conn]
	retired []uint8 // of the control goroutine: numbers of those to close when what it sends from them has left
	readers sync.WaitGroup
}

// conn is the socket with the number, nil when it is closed.
func (p *ports) conn(via uint8) Conn {
	if c := p.conns[via].Load(); c != nil {
		return *c
	}
	return nil
}

// openPort opens a random port and receives from it. ok is false when that fails, or too many are open.
func (p *pump) openPort() (via uint8, port uint16, ok bool) {
	if p.ports.open == nil {
		return 0, 0, false
	}
	for via := uint8(1); via <= mostPorts; via++ {
		if p.ports.conn(via) != nil {
			continue
		}
		conn, err := p.ports.open()
		if err != nil {
			return 0, 0, false
		}
		p.ports.conns[via].Store(&conn)
		p.ports.readers.Go(func() { _ = p.receive(conn, via, portBatch) }) // ends when the socket is closed
		return via, conn.LocalAddr().Port(), true
	}
	return 0, 0, false
}

// retirePort has carryOut close a random port, after what is yet to leave from it. Until then its number is taken, so that
// nothing leaves from another port that gets it.
func (p *pump) retirePort(via uint8) { p.ports.retired = append(p.ports.retired, via) }

// closeRetired closes the ports that retirePort was told.
func (p *pump) closeRetired() {
	for _, via := range p.ports.retired {
		p.closePort(via)
	}
	p.ports.retired = p.ports.retired[:0]
}

// closePort closes a random port.
func (p *pump) closePort(via uint8) {
	if c := p.ports.conns[via].Swap(nil); c != nil {
		(*c).Close()
	}
}

// closePorts closes all random ports and waits for their readers.
func (p *pump) closePorts() {
	for via := uint8(1); via <= mostPorts; via++ {
		p.closePort(via)
	}
	p.ports.readers.Wait()
}

// sendVia sends datagrams from the local ports that vias names, each run of one port as a batch.
func (p *pump) sendVia(messages []udp.Message, vias []uint8) {
	for len(messages) > 0 {
		n := 1
		for n < len(messages) && vias[n] == vias[0] {
			n++
		}
		p.send(vias[0], messages[:n])
		messages, vias = messages[n:], vias[n:]
	}
}
