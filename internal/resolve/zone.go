package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/dns"
)

// ErrNoZone tells that no name server knows a zone that a name belongs to.
var ErrNoZone = errors.New("no name server knows the zone of the name")

// Zone returns the zone that a fully qualified name belongs to, whether the name exists or not, and the primary name server of the
// zone, which takes changes (MNAME, RFC 1035 §3.3.13; RFC 2136 §4.3).
func (r *Resolver) Zone(ctx context.Context, name string) (zone, primary string, err error) {
	conf, err := readConfig(cmp.Or(r.ConfPath, confPath), cmp.Or(r.port, "53"))
	if err != nil {
		return "", "", err
	}
	// The reply has the SOA record of the zone, unless the name is an alias: then the zone of its parent is asked for.
	for at := 0; ; {
		reply, err := conf.query(ctx, name[at:], dns.TypeSOA)
		if err != nil {
			return "", "", fmt.Errorf("find the zone of %q: %w", name, err)
		}
		for _, record := range slices.Concat(reply.Answer, reply.Ns) {
			if soa, ok := record.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, name) {
				return dns.CanonicalName(soa.Hdr.Name), dns.CanonicalName(soa.Ns), nil
			}
		}
		next, end := dns.NextLabel(name, at)
		if end {
			return "", "", fmt.Errorf("find the zone of %q: %w", name, ErrNoZone)
		}
		at = next
	}
}
