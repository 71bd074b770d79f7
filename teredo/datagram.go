package teredo

import "net/netip"

// outboxBufferLen is the first size of an Outbox buffer: a bubble or a solicitation with its encapsulations and
// trailers fits. Buffers that had to grow keep their size.
const outboxBufferLen = 128

// Datagram is a UDP payload and where to send it.
type Datagram struct {
	Remote  netip.AddrPort
	Via     uint8 // the local port it leaves from: 0 is the service port, others are for the caller to number
	Payload []byte
}

// Outbox collects datagrams to send. The zero value is empty and ready for use. Buffers are used again after
// Reset, so that nothing is allocated in the steady state. It is not safe for concurrent use.
//
//	out.Send(server, teredo.AppendBubble(out.Next(), src, dst, teredo.DefaultHopLimit))
type Outbox struct {
	datagrams []Datagram
	buffers   [][]byte // buffers[:len(datagrams)] hold their payloads
}

// Next returns an empty buffer, to which the next payload must be appended. It returns the same buffer until Send.
func (o *Outbox) Next() []byte {
	n := len(o.datagrams)
	if n == len(o.buffers) {
		o.buffers = append(o.buffers, make([]byte, 0, outboxBufferLen))
	}
	return o.buffers[n][:0]
}

// Send adds a datagram. The payload must be what was appended to the buffer from Next.
func (o *Outbox) Send(remote netip.AddrPort, payload []byte) { o.SendVia(0, remote, payload) }

// SendVia is Send from another local port than the service port.
func (o *Outbox) SendVia(via uint8, remote netip.AddrPort, payload []byte) {
	o.buffers[len(o.datagrams)] = payload
	o.datagrams = append(o.datagrams, Datagram{Remote: remote, Via: via, Payload: payload})
}

// Datagrams returns the datagrams since the last Reset, in order. The slice is valid until Reset.
func (o *Outbox) Datagrams() []Datagram { return o.datagrams }

// Reset empties the Outbox. Its buffers are used for new datagrams.
func (o *Outbox) Reset() { o.datagrams = o.datagrams[:0] }
