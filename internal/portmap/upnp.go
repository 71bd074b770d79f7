package portmap

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/dcps/internetgateway2"
	"github.com/huin/goupnp/soap"
)

const (
	mostConnections = 4   // tried at a gateway
	longestName     = 128 // of a device

	upnpProtocol    = "UDP"
	upnpDescription = "TEREDO"
	noSuchEntry     = 714 // error code of DeletePortMapping: there is no such mapping
)

// connection is a service of a UPnP gateway that maps ports: WANIPConnection in version 1 or 2, or WANPPPConnection.
type connection interface {
	AddPortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string, internalPort uint16,
		internalClient string, enabled bool, description string, leaseDuration uint32) error
	DeletePortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string) error
	GetExternalIPAddressCtx(ctx context.Context) (string, error)
}

// upnp is UPnP-IGD at a gateway that speaks it.
type upnp struct {
	g      gateway
	device string // its unique name: gateways of other networks may have the same address
	conn   connection
}

// findUPnP looks for a connection with an external address.
func findUPnP(ctx context.Context, g gateway) (service, error) {
	var found upnp
	var reason error
	err := g.search(ctx, func(location *url.URL) bool {
		found, reason = g.describe(ctx, location)
		return reason == nil
	})
	if reason != nil {
		err = reason
	}
	return found, err
}

// describe fetches the description of a device and chooses its first connection with an external address.
func (g gateway) describe(ctx context.Context, location *url.URL) (upnp, error) {
	root, err := g.description(ctx, location)
	if err != nil {
		return upnp{}, err
	}
	reason := errors.New("the gateway's description has no connection that maps ports")
	for _, conn := range g.connections(root, location) {
		if _, reason = externalAddress(ctx, conn); reason == nil {
			name := root.Device.UDN
			return upnp{g: g, device: name[:min(len(name), longestName)], conn: conn}, nil
		}
	}
	return upnp{}, reason
}

// description fetches a device's description.
func (g gateway) description(ctx context.Context, location *url.URL) (*goupnp.RootDevice, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("fetch the gateway's description: %s", clip(err.Error()))
	}
	response, err := g.client().Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetch the gateway's description: %s", clip(err.Error()))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the gateway's description: status %q", clip(response.Status))
	}
	return parseDescription(response.Body, location)
}

// parseDescription reads a description. Its relative URLs are relative to the location, unless it has a URLBase.
func parseDescription(from io.Reader, location *url.URL) (*goupnp.RootDevice, error) {
	root := new(goupnp.RootDevice)
	decoder := xml.NewDecoder(from)
	decoder.DefaultSpace = goupnp.DeviceXMLNamespace
	if err := decoder.Decode(root); err != nil {
		return nil, fmt.Errorf("read the gateway's description: %s", clip(err.Error()))
	}
	base := location
	if root.URLBaseStr != "" {
		var err error
		if base, err = url.Parse(root.URLBaseStr); err != nil {
			return nil, fmt.Errorf("read the gateway's description: bad URLBase %q", clip(root.URLBaseStr))
		}
	}
	root.SetURLBase(base)
	return root, nil
}

// connections returns the first few services of a device that map ports, the most capable kinds first.
func (g gateway) connections(root *goupnp.RootDevice, location *url.URL) []connection {
	var found []connection
	add := func(client *soap.SOAPClient, conn connection) {
		client.HTTPClient = *g.client()
		found = append(found, conn)
	}
	// An error means that there is no service of the kind.
	ip2, _ := internetgateway2.NewWANIPConnection2ClientsFromRootDevice(root, location)
	for _, c := range ip2 {
		add(c.SOAPClient, c)
	}
	ip1, _ := internetgateway2.NewWANIPConnection1ClientsFromRootDevice(root, location)
	for _, c := range ip1 {
		add(c.SOAPClient, c)
	}
	ppp1, _ := internetgateway2.NewWANPPPConnection1ClientsFromRootDevice(root, location)
	for _, c := range ppp1 {
		add(c.SOAPClient, c)
	}
	return found[:min(len(found), mostConnections)]
}

func (s upnp) record() record {
	return record{Protocol: nameUPnP, Gateway: s.g.addr, Device: s.device, Internal: s.g.internal}
}

// add makes the mapping of RFC 6081 §5.3.3: the external port is the local one, for any remote host, without an end. Some
// gateways refuse mappings without an end, with various errors; then it requests a lease.
func (s upnp) add(ctx context.Context) (Mapping, error) {
	m := Mapping{Protocol: nameUPnP}
	err := s.addPort(ctx, 0)
	if errors.As(err, new(refusal)) {
		m.Lease = lifetime
		err = s.addPort(ctx, m.Lease)
	}
	if err != nil {
		return Mapping{}, fmt.Errorf("AddPortMapping: %w", err)
	}
	external, err := externalAddress(ctx, s.conn)
	if err != nil { // not a refusal, as the mapping exists
		return Mapping{}, fmt.Errorf("after AddPortMapping: %v", err)
	}
	m.External = netip.AddrPortFrom(external, s.g.internal.Port())
	return m, nil
}

func (s upnp) addPort(ctx context.Context, lease time.Duration) error {
	port := s.g.internal.Port()
	return explain(s.conn.AddPortMappingCtx(ctx, "", port, upnpProtocol, port, s.g.internal.Addr().String(), true,
		upnpDescription, uint32(lease/time.Second)))
}

// remove deletes the mapping of the record's port (RFC 6081 §5.3.5.1).
func (s upnp) remove(ctx context.Context, r record) error {
	err := s.conn.DeletePortMappingCtx(ctx, "", r.Internal.Port(), upnpProtocol)
	var fault *soap.SOAPFaultError
	if errors.As(err, &fault) && fault.Detail.UPnPError.Errorcode == noSuchEntry {
		return nil
	}
	if err != nil {
		return fmt.Errorf("DeletePortMapping: %w", explain(err))
	}
	return nil
}

// externalAddress asks a connection for the gateway's external address.
func externalAddress(ctx context.Context, conn connection) (netip.Addr, error) {
	text, err := conn.GetExternalIPAddressCtx(ctx)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("GetExternalIPAddress: %w", explain(err))
	}
	external, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil || !isExternal(external) {
		return netip.Addr{}, fmt.Errorf("the gateway's external address %q is unusable", clip(text))
	}
	return external, nil
}

// explain turns an error of the SOAP client into one for the log. A SOAP fault is a refusal of the gateway.
func explain(err error) error {
	var fault *soap.SOAPFaultError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &fault):
		e := fault.Detail.UPnPError
		return refusal{fmt.Sprintf("error %d %q", e.Errorcode, clip(e.ErrorDescription))}
	}
	return errors.New(clip(err.Error()))
}
