package portmap

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// PCP's version, opcodes and lengths (RFC 6887 §7, §11.1, §14).
const (
	pcpVersion   = 2
	pcpAnnounce  = 0
	pcpMap       = 1
	pcpAnswer    = 0x80 // added to the opcode in its answer
	pcpHeaderLen = 24
	pcpMapLen    = pcpHeaderLen + 36

	pcpUnsupportedVersion = 1 // result code
	udpProtocol           = 17
)

// pcp is PCP at a gateway that speaks it.
type pcp struct{ g gateway }

// findPCP sends an ANNOUNCE request, whose answer is only a header (RFC 6887 §14.1). Any answer in version 2 shows that the
// gateway speaks PCP, even one that says that it does not support this opcode.
func findPCP(ctx context.Context, g gateway) (service, error) {
	s := pcp{g}
	answer, err := s.ask(ctx, s.appendHeader(nil, pcpAnnounce, 0), func([]byte) bool { return true })
	if err == nil && answer[3] == pcpUnsupportedVersion {
		err = errors.New("the gateway speaks another version of PCP")
	}
	return s, err
}

// errOnlyNATPMP tells that the gateway does not speak PCP. That is no refusal (RFC 6887 §9).
var errOnlyNATPMP = errors.New("the gateway speaks NAT-PMP instead")

func (s pcp) record() record {
	return record{Protocol: namePCP, Gateway: s.g.addr, Internal: s.g.internal, Nonce: hex.EncodeToString(s.g.nonce[:])}
}

func (s pcp) add(ctx context.Context) (Mapping, error) {
	m, err := s.mapPort(ctx, s.g.nonce, s.g.internal.Port(), lifetime)
	switch {
	case err != nil:
		return Mapping{}, err
	case m.External.Port() == 0 || m.Lease <= 0:
		return Mapping{}, errors.New("the gateway's mapping has no port or no lifetime")
	case !isExternal(m.External.Addr()):
		return Mapping{}, fmt.Errorf("the gateway's external address %v is unusable", m.External.Addr())
	}
	return m, nil
}

// remove requests a lifetime of 0 (RFC 6887 §15). Only the nonce that made the mapping removes it.
func (s pcp) remove(ctx context.Context, r record) error {
	nonce, err := hex.DecodeString(r.Nonce)
	if err != nil || len(nonce) != len(s.g.nonce) {
		return nil // not a record of ours, and nothing could remove its mapping
	}
	_, err = s.mapPort(ctx, [12]byte(nonce), r.Internal.Port(), 0)
	return err
}

// mapPort sends a MAP request for the internal port, which is also the suggested external one (RFC 6887 §11).
func (s pcp) mapPort(ctx context.Context, nonce [12]byte, port uint16, lease time.Duration) (Mapping, error) {
	request := s.appendHeader(nil, pcpMap, lease)
	request = append(request, nonce[:]...)
	request = append(request, udpProtocol, 0, 0, 0)
	request = binary.BigEndian.AppendUint16(request, port)
	request = binary.BigEndian.AppendUint16(request, port)
	request = appendMapped(request, netip.IPv4Unspecified()) // any address will do
	const nonceAndPort = pcpHeaderLen + 18
	answer, err := s.ask(ctx, request, func(b []byte) bool {
		return len(b) < pcpMapLen || string(b[pcpHeaderLen:nonceAndPort]) == string(request[pcpHeaderLen:nonceAndPort])
	})
	switch {
	case errors.Is(err, errOnlyNATPMP): // although it spoke PCP a moment ago
		return Mapping{}, refusal{err.Error()}
	case err != nil:
		return Mapping{}, err
	case answer[3] != 0:
		return Mapping{}, refusal{pcpResult(answer[3])}
	case len(answer) < pcpMapLen:
		return Mapping{}, fmt.Errorf("the gateway's answer has %d bytes instead of %d", len(answer), pcpMapLen)
	}
	external := netip.AddrFrom16([16]byte(answer[44:60])).Unmap()
	return Mapping{
		Protocol: namePCP,
		External: netip.AddrPortFrom(external, binary.BigEndian.Uint16(answer[42:])),
		Lease:    time.Duration(binary.BigEndian.Uint32(answer[4:])) * time.Second,
	}, nil
}

// ask returns the first answer to a request that has a whole header and that mine accepts.
func (s pcp) ask(ctx context.Context, request []byte, mine func(b []byte) bool) (answer []byte, err error) {
	onlyNATPMP := false
	err = s.g.request(ctx, pcpPort, request, func(b []byte) bool {
		if len(b) >= 4 && b[0] == natpmpVersion {
			onlyNATPMP = true
			return true
		}
		if len(b) < pcpHeaderLen || b[0] != pcpVersion || b[1] != request[1]+pcpAnswer || !mine(b) {
			return false
		}
		answer = append([]byte(nil), b...)
		return true
	})
	if err == nil && onlyNATPMP {
		err = errOnlyNATPMP
	}
	return answer, err
}

// appendHeader appends the header that all requests have (RFC 6887 §7.1).
func (s pcp) appendHeader(b []byte, opcode byte, lease time.Duration) []byte {
	b = append(b, pcpVersion, opcode, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(lease/time.Second))
	return appendMapped(b, s.g.internal.Addr())
}

// appendMapped appends an IPv4 address in the form of an IPv6 one (RFC 6887 §5).
func appendMapped(b []byte, a netip.Addr) []byte {
	mapped := a.As16()
	return append(b, mapped[:]...)
}

// pcpResult names a result code (RFC 6887 §7.4).
func pcpResult(code byte) string {
	names := []string{"success", "unsupported version", "not authorized", "malformed request", "unsupported opcode",
		"unsupported option", "malformed option", "network failure", "no resources", "unsupported protocol",
		"user exceeded quota", "cannot provide external", "address mismatch", "excessive remote peers"}
	if int(code) < len(names) {
		return names[code]
	}
	return fmt.Sprintf("result code %d", code)
}
