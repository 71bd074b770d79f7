package tunnel

import (
	"sync/atomic"

	"github.com/teredo-suite/teredo/internal/peer"
)

// mostSockets is how many random ports a client has open at a time, one for each peer that needs it (RFC 6081 §5.4).
const mostSockets = 32

// sockets are the UDP sockets of a tunnel. They have numbers, called via; 0 is the service port. The control goroutine opens the others at random ports,
// and closes them.
type sockets struct {
	open    func() (Conn, error)                    // opens a socket at a random port; nil: there is only the service port
	conns   [1 + mostSockets]atomic.Pointer[[]Conn] // the service port may have several
	serving chan struct{}                           // closed when the service port is open

	// Of the control goroutine: numbers of those that nobody reads yet, and of those to close when what leaves from them has left.
	opened, retired []uint8
}

func newSockets(open func() (Conn, error)) *sockets {
	return &sockets{open: open, serving: make(chan struct{})}
}

// serve makes sockets the service port.
func (s *sockets) serve(conns ...Conn) {
	s.conns[0].Store(&conns)
	close(s.serving)
}

// conn is the socket that a worker uses of those with the number via, nil when they are closed.
func (s *sockets) conn(via uint8, worker int) Conn {
	if c := s.conns[via].Load(); c != nil {
		return (*c)[worker%len(*c)]
	}
	return nil
}

// all are the sockets that are open.
func (s *sockets) all() (all []Conn) {
	for via := range s.conns {
		if c := s.conns[via].Load(); c != nil {
			all = append(all, *c...)
		}
	}
	return all
}

// random are the random ports, as the path rules open and close them.
func (s *sockets) random() peer.Ports { return peer.Ports{Open: s.openRandom, Close: s.retire} }

// openRandom opens a random port. ok is false when that fails, or too many are open.
func (s *sockets) openRandom() (via uint8, port uint16, ok bool) {
	if s.open == nil {
		return 0, 0, false
	}
	for via := uint8(1); via <= mostSockets; via++ {
		if s.conn(via, 0) != nil {
			continue
		}
		conn, err := s.open()
		if err != nil {
			return 0, 0, false
		}
		s.conns[via].Store(&[]Conn{conn})
		s.opened = append(s.opened, via)
		return via, conn.LocalAddr().Port(), true
	}
	return 0, 0, false
}

// takeOpened calls read for each socket that was opened since the last time.
func (s *sockets) takeOpened(read func(conn Conn, via uint8)) {
	for _, via := range s.opened {
		read(s.conn(via, 0), via)
	}
	s.opened = s.opened[:0]
}

// retire has closeRetired close a random port, after what is yet to leave from it. Until then its number is taken, so that
// nothing leaves from another port that gets it.
func (s *sockets) retire(via uint8) { s.retired = append(s.retired, via) }

func (s *sockets) closeRetired() {
	for _, via := range s.retired {
		s.close(via)
	}
	s.retired = s.retired[:0]
}

// close closes the sockets with a number, which ends their readers.
func (s *sockets) close(via uint8) {
	if conns := s.conns[via].Swap(nil); conns != nil {
		for _, c := range *conns {
			c.Close()
		}
	}
}

func (s *sockets) closeAll() {
	for via := range s.conns {
		s.close(uint8(via))
	}
}
