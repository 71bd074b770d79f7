package portmap

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/huin/goupnp"
	"github.com/huin/goupnp/dcps/internetgateway2"
	"github.com/huin/goupnp/soap"
)

const (
	ip1  = "urn:schemas-upnp-org:service:WANIPConnection:1"
	ip2  = "urn:schemas-upnp-org:service:WANIPConnection:2"
	ppp1 = "urn:schemas-upnp-org:service:WANPPPConnection:1"
)

// within is the time that a test gives what should not take nearly so long.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// X-UPNP-02, X-UPNP-03, X-UPNP-09: what is asked of the gateway, word for word.
func TestUPnP(t *testing.T) {
	for _, service := range []string{ip1, ip2, ppp1} {
		t.Run(service, func(t *testing.T) {
			f := newFake(t)
			f.speakUPnP(service)
			ctx := within(t, time.Minute)
			s, err := findUPnP(ctx, f.gateway())
			if err != nil {
				t.Fatal(err)
			}
			if got := f.mappings(); len(got) != 0 {
				t.Errorf("mapped by asking: %v", got)
			}
			m, err := s.add(ctx)
			want := Mapping{Protocol: "upnp", External: netip.MustParseAddrPort("198.51.100.7:40000")}
			if err != nil || m != want {
				t.Errorf("mapping %v, %v, want %v", m, err, want)
			}
			if diff := cmp.Diff(map[string]string{"40000": "127.0.0.1:40000"}, f.mappings()); diff != "" {
				t.Errorf("the gateway's table (-want +got):\n%s", diff)
			}
			if err := s.remove(ctx, s.record()); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{
				"GetExternalIPAddress ",
				"AddPortMapping Enabled=1 ExternalPort=40000 InternalClient=127.0.0.1 InternalPort=40000 LeaseDuration=0 " +
					"PortMappingDescription=TEREDO Protocol=UDP RemoteHost=",
				"GetExternalIPAddress ",
				"DeletePortMapping ExternalPort=40000 Protocol=UDP RemoteHost=",
			}, f.actions()); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
			if err := s.remove(ctx, s.record()); err != nil { // there is none any more
				t.Errorf("removed twice: %v", err)
			}
		})
	}
}

// Gateways that take no permanent mappings say so with various errors (X-UPNP-02).
func TestUPnPLease(t *testing.T) {
	for _, code := range []int{402, 501, 725} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			f := newFake(t)
			f.speakUPnP(ip1)
			f.faults["AddPortMapping"] = []int{code}
			ctx := within(t, time.Minute)
			s, err := findUPnP(ctx, f.gateway())
			if err != nil {
				t.Fatal(err)
			}
			if m, err := s.add(ctx); err != nil || m.Lease != lifetime {
				t.Errorf("mapping %v, %v", m, err)
			}
			if got := f.actions()[2]; !strings.Contains(got, "LeaseDuration=7200") {
				t.Errorf("second request: %s", got)
			}
		})
	}
}

// A mapping whose external address is not known, or is unusable, is of no use and does not stay (X-UPNP-03).
func TestUPnPExternalAddress(t *testing.T) {
	for name, test := range map[string]struct {
		external string
		ok       bool
	}{
		"global":                {"198.51.100.7", true},
		"private, a second NAT": {"10.0.0.7", true}, // useful as an alternate address (X-HP-07)
		"shared, a second NAT":  {"100.64.0.7", true},
		"spaces":                {" 198.51.100.7\n", true},
		"none":                  {"", false},
		"unspecified":           {"0.0.0.0", false},
		"this network":          {"0.1.2.3", false},
		"loopback":              {"127.0.0.1", false},
		"link-local":            {"169.254.1.1", false},
		"multicast":             {"224.0.0.1", false},
		"reserved":              {"240.0.0.1", false},
		"broadcast":             {"255.255.255.255", false},
		"IPv6":                  {"2001:db8::1", false},
		"mapped IPv6":           {"::ffff:198.51.100.7", false},
		"name":                  {"router.example", false},
		"long":                  {strings.Repeat("1", 10000), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.external = test.external
			service, err := f.gateway().describe(within(t, time.Minute), f.device(ip1))
			if (err == nil) != test.ok {
				t.Fatalf("found: %v", err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "is unusable") || len(err.Error()) > 300 {
					t.Errorf("error %v", err)
				}
				return
			}
			m, err := service.add(within(t, time.Minute))
			if err != nil || m.External.Addr().String() != strings.TrimSpace(test.external) {
				t.Errorf("mapping %v, error %v", m, err)
			}
		})
	}
}

// X-UPNP-03: the address was known when the gateway was asked first, and is not any more when it has made the mapping.
func TestUPnPAddressLost(t *testing.T) {
	f := newFake(t)
	f.speakUPnP(ip1)
	f.faults["GetExternalIPAddress"] = []int{0, 501}
	k := testKeeper(t, f)
	if _, m, err := k.make(within(t, time.Minute), f.gateway()); err == nil || !strings.Contains(err.Error(), "501") {
		t.Errorf("mapping %v, %v", m, err)
	}
	if got := f.mappings(); len(got) != 0 {
		t.Errorf("the gateway keeps %v", got)
	}
	if len(k.journal.records) != 0 {
		t.Errorf("recorded: %v", k.journal.records)
	}
}

// Another host has the port: the gateway's mapping for it stays.
func TestUPnPConflict(t *testing.T) {
	f := newFake(t)
	f.speakUPnP(ip1)
	f.faults["AddPortMapping"] = []int{718, 718}
	f.mapped["40000"] = "192.168.1.9:40000"
	k := testKeeper(t, f)
	if _, m, err := k.make(within(t, time.Minute), f.gateway()); err == nil || !strings.Contains(err.Error(), `718 "no 718"`) {
		t.Errorf("mapping %v, %v", m, err)
	}
	if got := f.mappings()["40000"]; got != "192.168.1.9:40000" {
		t.Errorf("the gateway maps the port to %q", got)
	}
	if len(k.journal.records) != 0 {
		t.Errorf("recorded: %v", k.journal.records)
	}
}

// Descriptions that are none end the search, with a short reason.
func TestHostileDescription(t *testing.T) {
	gone := make(chan struct{})
	t.Cleanup(func() { close(gone) })
	for name, test := range map[string]struct {
		serve func(w http.ResponseWriter, r *http.Request)
		want  string
		hangs bool
	}{
		"malformed":   {write("<root><device>"), "unexpected EOF", false},
		"not XML":     {write("hello"), "EOF", false},
		"other root":  {write(`<html xmlns="http://www.w3.org/1999/xhtml"/>`), "expected element type <root>", false},
		"no services": {write(description("urn:other")), "no connection", false},
		"charset":     {write(`<?xml version="1.0" encoding="x"?><root/>`), "CharsetReader", false},
		"bad base":    {write(`<root xmlns="urn:schemas-upnp-org:device-1-0"><URLBase>http://[::1</URLBase></root>`), "bad URLBase", false},
		"https":       {write(strings.Replace(description(ip1), "/control", "https://127.0.0.1/", 1)), "has the scheme", false},
		"no URL":      {write(strings.Replace(description(ip1), "/control", "http://[::1", 1)), "has the scheme", false},
		"not found":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "404", false},
		"deep":        {write(strings.Repeat("<device><deviceList>", 3000)), "", false},
		"many": {write(`<root xmlns="urn:schemas-upnp-org:device-1-0"><device><serviceList>` + strings.Repeat(
			`<service><serviceType>`+ip1+`</serviceType><controlURL>/x</controlURL></service>`, 400) + `</serviceList></device></root>`), "EOF", false},
		"long header": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("x", strings.Repeat("x", 1<<20)) }, "server response", false},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1/", http.StatusFound)
		}, "302", false},
		"silent": {func(_ http.ResponseWriter, r *http.Request) { wait(r, gone) }, "exceeded", true},
		"slow": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "<root>")
			w.(http.Flusher).Flush()
			wait(r, gone)
		}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			patience := time.Minute
			if test.hangs {
				patience = 100 * time.Millisecond
			}
			s, err := f.gateway().describe(within(t, patience), location(t, f.serve(test.serve)+"/desc.xml"))
			if err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 300 {
				t.Errorf("found %v, error %v, want one with %q", s, err, test.want)
			}
		})
	}
}

func location(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func write(body string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			io.WriteString(w, body)
		}
	}
}

func wait(r *http.Request, gone <-chan struct{}) {
	select {
	case <-r.Context().Done():
	case <-gone:
	}
}

// A body without end is cut, in the description and in answers to actions.
func TestEndlessBody(t *testing.T) {
	for method, begin := range map[string]string{
		http.MethodGet:  `<root xmlns="urn:schemas-upnp-org:device-1-0"><device>`,
		http.MethodPost: `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>`,
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			url := f.serve(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != method {
					io.WriteString(w, description(ip1))
					return
				}
				for _, err := io.WriteString(w, begin); err == nil; {
					_, err = io.WriteString(w, strings.Repeat("<a>hello</a>", 1000))
				}
			})
			s, err := f.gateway().describe(within(t, time.Minute), location(t, url))
			if err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
				t.Errorf("found %v, error %v", s, err)
			}
		})
	}
}

// Whatever address a description names, nobody but the gateway is asked.
func TestOnlyTheGateway(t *testing.T) {
	var asked atomic.Bool
	stranger := newFake(t)
	strangersURL := stranger.serve(func(http.ResponseWriter, *http.Request) { asked.Store(true) })
	f := newFake(t)
	f.addr = f.addr.Next()
	url := f.serve(write(strings.Replace(description(ip1), "/control", strangersURL+"/control", 1)))
	f.listen(1900, func([]byte) [][]byte {
		return [][]byte{ssdpAnswer(searchTargets()[0], strangersURL+"/desc.xml"), ssdpAnswer(searchTargets()[0], url+"/desc.xml")}
	})
	if s, err := findUPnP(within(t, 2*time.Second), f.gateway()); err == nil {
		t.Errorf("found %v", s)
	}
	if asked.Load() {
		t.Errorf("somebody else was asked at %s", strangersURL)
	}
}

// Junk does not keep the right answer from being heard, unless there is too much of it.
func TestSearch(t *testing.T) {
	for name, test := range map[string]struct {
		junk [][]byte
		ok   bool
	}{
		"nothing else": {nil, true},
		"junk": {[][]byte{nil, []byte("x"), make([]byte, 3000), []byte("HTTP/1.1 200 OK\r\n\r\n"), []byte("HTTP/1.1 404 Not Found\r\n\r\n"),
			ssdpAnswer("upnp:rootdevice", "http://127.0.0.1/"), ssdpAnswer(searchTargets()[0], "ftp://127.0.0.1/"),
			ssdpAnswer(searchTargets()[0], "http://"), ssdpAnswer(searchTargets()[0], "http://[::1"), ssdpAnswer(searchTargets()[0], "")}, true},
		"flood":          {slicesOf(mostDatagrams, "x"), false},
		"many locations": {locations(mostLocations), false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.listen(1900, func([]byte) [][]byte { return append(test.junk, ssdpAnswer(searchTargets()[1], "http://gateway/d")) })
			var got []string
			patience := time.Minute
			if !test.ok {
				patience = time.Second
			}
			err := f.gateway().search(within(t, patience), func(location *url.URL) bool {
				got = append(got, location.String())
				return location.Host == "gateway"
			})
			if (err == nil) != test.ok || len(got) > mostLocations {
				t.Errorf("error %v, locations %v", err, got)
			}
		})
	}
}

func slicesOf(n int, text string) (list [][]byte) {
	for range n {
		list = append(list, []byte(text))
	}
	return list
}

func locations(n int) (list [][]byte) {
	for i := range n {
		list = append(list, ssdpAnswer(searchTargets()[0], fmt.Sprintf("http://gateway:1/%d", i)))
	}
	return list
}

// An answer counts only when the gateway itself sends it.
func TestSearchStranger(t *testing.T) {
	f := newFake(t)
	stranger, err := net.ListenPacket("udp4", netip.AddrPortFrom(f.addr.Next(), 1900).String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	f.listenFrom(1900, func(_ []byte, from net.Addr) [][]byte {
		if _, err := stranger.WriteTo(ssdpAnswer(searchTargets()[0], "http://stranger/"), from); err != nil {
			t.Error(err)
		}
		return [][]byte{ssdpAnswer(searchTargets()[0], "http://gateway/")}
	})
	var got []string
	err = f.gateway().search(within(t, time.Minute), func(location *url.URL) bool {
		got = append(got, location.Host)
		return true
	})
	if err != nil || !slices.Equal(got, []string{"gateway"}) {
		t.Errorf("error %v, locations of %v", err, got)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(ssdpAnswer(searchTargets()[0], "http://192.168.1.1:5000/rootDesc.xml"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if location, ok := parseAnswer(b); ok && (location.Scheme != "http" || location.Host == "") {
			t.Errorf("location %v", location)
		}
	})
}

func FuzzDescription(f *testing.F) {
	f.Add([]byte(description(ip1)))
	f.Add([]byte(strings.Replace(description(ppp1), "<device>", "<URLBase>http://192.168.1.1:5000/</URLBase><device>", 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		location := &url.URL{Scheme: "http", Host: "192.168.1.1"}
		root, err := parseDescription(bytes.NewReader(b), location)
		if err == nil && len(gateway{}.connections(root, location)) > mostConnections {
			t.Error("too many connections")
		}
	})
}

// answering is a transport that has one answer to everything.
type answering struct {
	status int
	body   []byte
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: r}, nil
}

func FuzzExternalAddress(f *testing.F) {
	const envelope = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>%s</s:Body></s:Envelope>`
	f.Add(200, fmt.Appendf(nil, envelope, `<u:GetExternalIPAddressResponse xmlns:u="x"><NewExternalIPAddress>198.51.100.7</NewExternalIPAddress></u:GetExternalIPAddressResponse>`))
	f.Add(500, fmt.Appendf(nil, envelope, `<s:Fault><detail><UPnPError><errorCode>501</errorCode></UPnPError></detail></s:Fault>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		conn := &internetgateway2.WANIPConnection1{ServiceClient: goupnp.ServiceClient{SOAPClient: &soap.SOAPClient{
			HTTPClient: http.Client{Transport: answering{status, body}},
		}}}
		if a, err := externalAddress(t.Context(), conn); err == nil && !isExternal(a) || err != nil && len(err.Error()) > 1000 {
			t.Errorf("address %v, error %v", a, err)
		}
	})
}
