package dnsupdate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/teredo-suite/teredo/internal/resolve"
)

// ttl of the record: others use an old address no longer than this.
const ttl = 60

// errUnsigned tells that the reply may come from somebody else than the name server.
var errUnsigned = errors.New("the reply of the name server is not signed")

// Finder finds the zone that a name belongs to, and the addresses of the name server that takes its updates.
type Finder func(ctx context.Context, name string) (zone string, servers []netip.AddrPort, err error)

// CheckName says why a name cannot have a record.
func CheckName(name string) error {
	if labels, ok := dns.IsDomainName(name); !ok || labels < 2 || strings.ContainsAny(name, " :/") {
		return fmt.Errorf("%q is no name that a record can have: write one such as laptop.example.net", name)
	}
	return nil
}

// Find is a Finder that asks the name servers of the host for the SOA record, which names the primary name server.
func Find(ctx context.Context, name string) (zone string, servers []netip.AddrPort, err error) {
	var r resolve.Resolver
	zone, primary, err := r.Zone(ctx, name)
	if err != nil {
		return "", nil, err
	}
	addrs, _, err := r.Lookup(ctx, primary)
	if err != nil {
		return "", nil, fmt.Errorf("the primary name server of %s: %w", zone, err)
	}
	for _, a := range addrs {
		servers = append(servers, netip.AddrPortFrom(a, 53))
	}
	return zone, servers, nil
}

// set makes addr the only address of the name.
func (k *Keeper) set(addr netip.Addr) func(*dns.Msg) {
	record := k.record(addr)
	return func(m *dns.Msg) {
		m.RemoveRRset([]dns.RR{record})
		m.Insert([]dns.RR{record})
	}
}

// remove takes those of these addresses that are valid from the name, and leaves others, which another host may have set since.
func (k *Keeper) remove(addrs []netip.Addr) func(*dns.Msg) {
	return func(m *dns.Msg) {
		for _, a := range addrs {
			if a.IsValid() {
				m.Remove([]dns.RR{k.record(a)})
			}
		}
	}
}

func (k *Keeper) record(addr netip.Addr) dns.RR {
	return &dns.AAAA{
		Hdr:  dns.RR_Header{Name: k.name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET, Ttl: ttl},
		AAAA: addr.AsSlice(),
	}
}

// update has the name server make changes.
func (k *Keeper) update(ctx context.Context, change func(*dns.Msg)) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	zone, servers, err := k.find(ctx, k.name)
	if err != nil {
		return err
	}
	for _, server := range servers {
		if err = k.ask(ctx, zone, server, change); err == nil {
			break
		}
	}
	return err
}

// ask sends an update to one server, over TCP: only the server itself can answer there, and no answer is too large.
func (k *Keeper) ask(ctx context.Context, zone string, server netip.AddrPort, change func(*dns.Msg)) error {
	k.mu.Lock()
	key := k.key
	k.mu.Unlock()
	m := new(dns.Msg).SetUpdate(zone)
	change(m)
	m.SetTsig(key.Name, key.Algorithm, 300, time.Now().Unix())
	dialer := net.Dialer{}
	conn, err := dialer.DialContext(ctx, "tcp", server.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	stream := dns.Conn{Conn: conn, TsigSecret: map[string]string{key.Name: key.Secret}}
	if err := stream.WriteMsg(m); err != nil {
		return fmt.Errorf("send an update to %s: %w", server, err)
	}
	reply, err := stream.ReadMsg()
	switch {
	case reply != nil && reply.Id == m.Id && refused(reply) != "":
		return fmt.Errorf("the name server %s refuses to update %s: %s", server, k.status.Name, refused(reply))
	case err == nil && (reply.Id != m.Id || reply.IsTsig() == nil):
		err = errUnsigned
	}
	if err != nil {
		return fmt.Errorf("update %s at %s: %w", k.status.Name, server, err)
	}
	return nil
}

// refused says why a name server has not made the changes, empty if it has.
func refused(reply *dns.Msg) string {
	if reply.Rcode == dns.RcodeSuccess {
		return ""
	}
	if t := reply.IsTsig(); t != nil && t.Error != dns.RcodeSuccess {
		switch int(t.Error) {
		case dns.RcodeBadKey:
			return "it does not know the key, or not with this algorithm (BADKEY)"
		case dns.RcodeBadSig:
			return "the secret of the key is another one there (BADSIG)"
		case dns.RcodeBadTime:
			return "the clocks differ by more than five minutes (BADTIME)"
		}
	}
	if s, ok := dns.RcodeToString[reply.Rcode]; ok {
		return s
	}
	return "RCODE " + strconv.Itoa(reply.Rcode)
}
