package portmap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// pcpPort is where gateways listen for NAT-PMP and PCP, which their first byte tells apart (RFC 6887 §9).
const pcpPort = 5351

// NAT-PMP's version and operations (RFC 6886 §3).
const (
	natpmpVersion  = 0
	natpmpExternal = 0 // what is the external address?
	natpmpMapUDP   = 1
	natpmpAnswer   = 128 // added to the operation in its answer
)

// natpmp is NAT-PMP at a gateway that speaks it.
type natpmp struct{ g gateway }

func findNATPMP(ctx context.Context, g gateway) (service, error) {
	s := natpmp{g}
	_, err := s.external(ctx)
	return s, err
}

func (s natpmp) record() record {
	return record{Protocol: nameNATPMP, Gateway: s.g.addr, Internal: s.g.internal}
}

func (s natpmp) add(ctx context.Context) (Mapping, error) {
	external, err := s.external(ctx)
	if err != nil {
		return Mapping{}, err
	}
	port, lease, err := s.mapPort(ctx, s.g.internal.Port(), s.g.internal.Port(), lifetime)
	switch {
	case err != nil:
		return Mapping{}, err
	case port == 0 || lease <= 0:
		return Mapping{}, errors.New("the gateway's mapping has no port or no lifetime")
	}
	return Mapping{Protocol: nameNATPMP, External: netip.AddrPortFrom(external, port), Lease: lease}, nil
}

// remove requests a lifetime of 0 (RFC 6886 §3.4). The mapping belongs to the address that the request comes from.
func (s natpmp) remove(ctx context.Context, r record) error {
	_, _, err := s.mapPort(ctx, r.Internal.Port(), 0, 0)
	return err
}

// external asks for the external address (RFC 6886 §3.2).
func (s natpmp) external(ctx context.Context) (netip.Addr, error) {
	answer, err := s.ask(ctx, []byte{natpmpVersion, natpmpExternal}, 12)
	if err != nil {
		return netip.Addr{}, err
	}
	external := netip.AddrFrom4([4]byte(answer[8:12]))
	if !isExternal(external) {
		return netip.Addr{}, fmt.Errorf("the gateway's external address %v is unusable", external)
	}
	return external, nil
}

// mapPort asks for a mapping of the internal port (RFC 6886 §3.3).
func (s natpmp) mapPort(ctx context.Context, internal, external uint16, lease time.Duration) (uint16, time.Duration, error) {
	request := []byte{natpmpVersion, natpmpMapUDP, 0, 0}
	request = binary.BigEndian.AppendUint16(request, internal)
	request = binary.BigEndian.AppendUint16(request, external)
	request = binary.BigEndian.AppendUint32(request, uint32(lease/time.Second))
	answer, err := s.ask(ctx, request, 16)
	if err != nil {
		return 0, 0, err
	}
	if binary.BigEndian.Uint16(answer[8:]) != internal {
		return 0, 0, errors.New("the gateway's answer is about another port")
	}
	return binary.BigEndian.Uint16(answer[10:]), time.Duration(binary.BigEndian.Uint32(answer[12:])) * time.Second, nil
}

// ask returns the answer to a request, of the given length.
func (s natpmp) ask(ctx context.Context, request []byte, length int) (answer []byte, err error) {
	err = s.g.request(ctx, pcpPort, request, func(b []byte) bool {
		if len(b) < 4 || b[0] != natpmpVersion || b[1] != request[1]+natpmpAnswer {
			return false
		}
		answer = append([]byte(nil), b...)
		return true
	})
	if err != nil {
		return nil, err
	}
	if code := binary.BigEndian.Uint16(answer[2:]); code != 0 {
		return nil, refusal{natpmpResult(code)}
	}
	if len(answer) < length {
		return nil, fmt.Errorf("the gateway's answer has %d bytes instead of %d", len(answer), length)
	}
	return answer, nil
}

// natpmpResult names a result code (RFC 6886 §3.5).
func natpmpResult(code uint16) string {
	names := []string{"success", "unsupported version", "not authorized", "network failure", "out of resources", "unsupported opcode"}
	if int(code) < len(names) {
		return names[code]
	}
	return fmt.Sprintf("result code %d", code)
}
