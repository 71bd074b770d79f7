package portmap

import (
	"encoding/xml"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/teredo-suite/teredo/internal/leak"
)

func TestMain(m *testing.M) { leak.VerifyTestMain(m) }

// fake is a gateway on a loopback address of its own. What it speaks is up to the test.
type fake struct {
	t    *testing.T
	addr netip.Addr

	mu       sync.Mutex
	external string            // address that UPnP tells
	mapped   map[string]string // external port to what UPnP has mapped it to
	faults   map[string][]int  // error codes of the next calls of an action; 0: none
	calls    []string          // SOAP actions, with their arguments
}

const local = "127.0.0.1"

func newFake(t *testing.T) *fake {
	h := fnv.New32()
	io.WriteString(h, t.Name())
	n := h.Sum32()
	return &fake{
		t: t, addr: netip.AddrFrom4([4]byte{127, byte(n>>16)%250 + 1, byte(n >> 8), byte(n)%250 + 2}),
		external: "198.51.100.7", mapped: make(map[string]string), faults: make(map[string][]int),
	}
}

// gateway is how we see the fake, for port 40000.
func (f *fake) gateway() gateway {
	return gateway{addr: f.addr, internal: netip.MustParseAddrPort(local + ":40000"), nonce: [12]byte([]byte("abcdefghijkl"))}
}

func (f *fake) route(netip.Addr) (netip.Addr, bool) { return f.addr, true }

// listen answers each datagram to a UDP port with what answer makes of it; nil is silence.
func (f *fake) listen(port uint16, answer func(request []byte) [][]byte) {
	f.t.Helper()
	f.listenFrom(port, func(request []byte, _ net.Addr) [][]byte { return answer(request) })
}

// listenFrom is listen for those who want to know whose datagram it is.
func (f *fake) listenFrom(port uint16, answer func(request []byte, from net.Addr) [][]byte) {
	f.t.Helper()
	conn, err := net.ListenPacket("udp4", netip.AddrPortFrom(f.addr, port).String())
	if err != nil {
		f.t.Fatal(err)
	}
	done := make(chan struct{})
	f.t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, b := range answer(slices.Clone(buf[:n]), from) {
				conn.WriteTo(b, from) // a lost answer is part of the game
			}
		}
	}()
}

// serve serves HTTP on the gateway's address, and returns the URL of a path.
func (f *fake) serve(handler http.HandlerFunc) (url string) {
	f.t.Helper()
	l, err := net.Listen("tcp4", netip.AddrPortFrom(f.addr, 0).String())
	if err != nil {
		f.t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.Listener.Close()
	s.Listener = l
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.Start()
	f.t.Cleanup(s.Close)
	return s.URL
}

// announce answers searches with the location of a description.
func (f *fake) announce(location string) {
	f.t.Helper()
	f.listen(1900, func(request []byte) [][]byte {
		target := searchTargets()[0]
		if !strings.HasPrefix(string(request), "M-SEARCH * HTTP/1.1\r\n") || !strings.Contains(string(request), "\r\nST: "+target+"\r\n") {
			return nil
		}
		return [][]byte{ssdpAnswer(target, location)}
	})
}

func ssdpAnswer(target, location string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: %s\r\nUSN: uuid:1::%[1]s\r\nEXT:\r\nSERVER: x\r\nLOCATION: %s\r\n\r\n",
		target, location)
}

// speakUPnP makes it an Internet gateway device with a connection of the given type.
func (f *fake) speakUPnP(service string) {
	f.t.Helper()
	f.announce(f.device(service).String())
}

// device serves the description of one, and returns its location.
func (f *fake) device(service string) *url.URL {
	f.t.Helper()
	return location(f.t, f.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/desc.xml" {
			io.WriteString(w, description(service))
			return
		}
		f.control(w, r, service)
	})+"/desc.xml")
}

func description(service string) string {
	return `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><UDN>uuid:1</UDN><deviceList><device><deviceList><device>
<serviceList><service><serviceType>` + service + `</serviceType><controlURL>/control</controlURL></service></serviceList>
</device></deviceList></device></deviceList></device></root>`
}

// control carries out a SOAP action.
func (f *fake) control(w http.ResponseWriter, r *http.Request, service string) {
	action := path.Base(strings.Trim(strings.ReplaceAll(r.Header.Get("SOAPACTION"), "#", "/"), `"`))
	args := arguments(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, action+" "+describe(args))
	if codes := f.faults[action]; len(codes) > 0 {
		f.faults[action] = codes[1:]
		if codes[0] != 0 {
			fault(w, codes[0])
			return
		}
	}
	reply := ""
	switch port := args["NewExternalPort"]; action {
	case "AddPortMapping":
		f.mapped[port] = args["NewInternalClient"] + ":" + args["NewInternalPort"]
	case "DeletePortMapping":
		if f.mapped[port] == "" {
			fault(w, noSuchEntry)
			return
		}
		delete(f.mapped, port)
	case "GetExternalIPAddress":
		reply = "<NewExternalIPAddress>" + f.external + "</NewExternalIPAddress>"
	}
	fmt.Fprintf(w, `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>`+
		`<u:%sResponse xmlns:u="%s">%s</u:%[1]sResponse></s:Body></s:Envelope>`, action, service, reply)
}

func fault(w http.ResponseWriter, code int) {
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(w, `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>`+
		`<faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0">`+
		`<errorCode>%d</errorCode><errorDescription>no %[1]d</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>`, code)
}

// arguments reads those of a SOAP action.
func arguments(body io.Reader) map[string]string {
	args := make(map[string]string)
	name := ""
	for d := xml.NewDecoder(body); ; {
		token, err := d.Token()
		if err != nil {
			return args
		}
		switch token := token.(type) {
		case xml.StartElement:
			if name = token.Name.Local; strings.HasPrefix(name, "New") {
				args[name] = ""
			}
		case xml.CharData:
			if strings.HasPrefix(name, "New") {
				args[name] += string(token)
			}
		case xml.EndElement:
			name = ""
		}
	}
}

func describe(args map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(args)) {
		list = append(list, strings.TrimPrefix(name, "New")+"="+args[name])
	}
	return strings.Join(list, " ")
}

// mappings lists what UPnP has mapped, calls lists what was asked for.
func (f *fake) mappings() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.mapped)
}

func (f *fake) actions() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}
