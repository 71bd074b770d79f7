package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// ask returns the answer section for the records of a fully qualified name. It is empty when the name exists without such records.
func (c *config) ask(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	reply, err := c.query(ctx, name, kind)
	switch {
	case err != nil:
		return nil, err
	case reply.Rcode == dns.RcodeNameError:
		return nil, ErrNotFound
	}
	return reply.Answer, nil
}

// query returns the reply for the records of a fully qualified name from the first server that can tell, also when it tells that the
// name does not exist. Every server has its turn before one is asked again.
func (c *config) query(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	var failed, silent error
	for range c.attempts {
		for _, server := range c.servers {
			reply, err := c.exchange(ctx, server, name, kind)
			switch {
			case ctx.Err() != nil && err != nil:
				return nil, ctx.Err()
			case err != nil:
				silent = err
			case reply.Rcode == dns.RcodeNameError, reply.Rcode == dns.RcodeSuccess && !isReferral(reply):
				return reply, nil
			default:
				failed = fmt.Errorf("%w: %s says %s", ErrFailed, server, refusal(reply))
			}
		}
	}
	if failed != nil {
		return nil, failed
	}
	return nil, fmt.Errorf("%w: %v", ErrNoAnswer, silent) // not wrapped: this timeout is not that of the caller's ctx
}

// isReferral reports that the server does not know the name and does not ask other servers.
func isReferral(reply *dns.Msg) bool {
	return len(reply.Answer) == 0 && !reply.Authoritative && !reply.RecursionAvailable
}

// refusal describes in a few words why the server did not answer.
func refusal(reply *dns.Msg) string {
	if reply.Rcode == dns.RcodeSuccess {
		return "to ask another server"
	}
	if s, ok := dns.RcodeToString[reply.Rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE %d", reply.Rcode)
}

// exchange asks one server over UDP, and over TCP when its answer does not fit (RFC 7766 §5). Each has its own timeout.
func (c *config) exchange(ctx context.Context, server, name string, kind uint16) (*dns.Msg, error) {
	query := new(dns.Msg).SetQuestion(name, kind)
	reply, err := c.roundTrip(ctx, "udp", server, query)
	if err == nil && reply.Truncated {
		reply, err = c.roundTrip(ctx, "tcp", server, query)
	}
	if err == nil && reply.Truncated {
		return nil, errors.New(server + " truncated its answer even over TCP")
	}
	return reply, err
}

// roundTrip sends the query and waits for its reply. Over UDP it ignores other datagrams, as anybody can send them (RFC 5452 §9.1).
// Over TCP only the server can send, so anything else is an error.
func (c *config) roundTrip(ctx context.Context, network, server string, query *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	dial := c.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	stream := dns.Conn{Conn: conn}
	if err := stream.WriteMsg(query); err != nil {
		return nil, err
	}
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, err := stream.Read(buf)
		if err != nil {
			return nil, err
		}
		if reply, ok := parseReply(buf[:n], query); ok {
			return reply, nil
		}
		if network == "tcp" {
			return nil, errors.New(server + " sent something other than an answer")
		}
	}
}

// parseReply reports whether b is a reply to the query. A truncated one may end within a record.
func parseReply(b []byte, query *dns.Msg) (*dns.Msg, bool) {
	reply := new(dns.Msg)
	if err := reply.Unpack(b); err != nil && !reply.Truncated {
		return nil, false
	}
	if reply.Id != query.Id || !reply.Response || reply.Opcode != dns.OpcodeQuery || len(reply.Question) != 1 {
		return nil, false
	}
	asked, answered := query.Question[0], reply.Question[0]
	same := answered.Qtype == asked.Qtype && answered.Qclass == asked.Qclass && strings.EqualFold(answered.Name, asked.Name)
	return reply, same
}
