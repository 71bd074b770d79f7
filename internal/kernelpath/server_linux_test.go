package kernelpath

import (
	"bytes"
	"encoding/binary"
	"maps"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	reasons "github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/teredo"
)

// question is a datagram to a server.
type question struct {
	second  bool // to the secondary address
	from    netip.AddrPort
	payload []byte
}

// twins are the rules of a server in Go and in the kernel.
type twins struct {
	cfg     server.Config
	handler *server.Handler
	kernel  *Server
}

var (
	primary   = netip.MustParseAddr("192.0.2.1")
	secondary = netip.MustParseAddr("192.0.2.2")
	elsewhere = netip.MustParseAddr("198.51.100.118") // another server

	clientAt = netip.MustParseAddrPort("203.0.113.1:4096")
	otherAt  = netip.MustParseAddrPort("203.0.113.129:8192")
	relayAt  = netip.MustParseAddrPort("198.51.100.1:3545")
)

// twinConfig is that of a server in a lab, whose addresses are those for documentation.
func twinConfig() server.Config {
	return server.Config{Primary: primary, Secondary: secondary, Filter: teredo.Filter{
		Permit: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
		},
		Broadcasts: []netip.Addr{netip.MustParseAddr("192.0.2.255"), netip.MustParseAddr("8.8.8.127")},
	}}
}

// twinConfigs are those that make a difference for the kernel.
func twinConfigs() map[string]server.Config {
	configs := make(map[string]server.Config)
	add := func(name string, change func(*server.Config)) {
		cfg := twinConfig()
		change(&cfg)
		configs[name] = cfg
	}
	add("two addresses", func(*server.Config) {})
	add("one address", func(c *server.Config) { c.Secondary = netip.Addr{} })
	add("behind a 1:1 NAT", func(c *server.Config) {
		c.Primary, c.Secondary = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
		c.Public, c.Public2 = primary, secondary
	})
	add("native prefix", func(c *server.Config) { c.Native = netip.MustParsePrefix("2001:db8:c::/64") })
	add("secrets", func(c *server.Config) { c.Secrets = sharedSecrets() })
	add("secrets, one address", func(c *server.Config) { c.Secrets, c.Secondary = sharedSecrets(), netip.Addr{} })
	return configs
}

// needsBPF skips the test where programs cannot be loaded, but never in continuous integration.
func needsBPF(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 && os.Getenv("CI") != "true" {
		tb.Skip("loads programs into the kernel: run as root")
	}
}

func kernelConfig(cfg server.Config) ServerConfig {
	k := ServerConfig{Bind: []netip.Addr{cfg.Primary}, Public: []netip.Addr{cfg.Primary}, Filter: cfg.Filter, Secrets: kernelSecrets(cfg.Secrets), Started: time.Now()}
	if cfg.Secondary.IsValid() {
		k.Bind, k.Public = append(k.Bind, cfg.Secondary), append(k.Public, cfg.Secondary)
	}
	if cfg.Public.IsValid() {
		k.Public = []netip.Addr{cfg.Public, cfg.Public2}
	}
	return k
}

func openServer(tb testing.TB, cfg ServerConfig) *Server {
	tb.Helper()
	k, err := OpenServer(cfg, quiet)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { k.Close() })
	if k.noTCX != nil {
		tb.Log("only in the driver:", k.noTCX)
	}
	return k
}

// newTwins makes a server whose datagrams all come and go by the loopback interface, which no frame is sent on here.
func newTwins(tb testing.TB, cfg server.Config) *twins {
	tb.Helper()
	needsBPF(tb)
	handler, err := server.NewHandler(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	w := &twins{cfg, handler, openServer(tb, kernelConfig(cfg))}
	w.kernel.routeAll(tb)
	return w
}

const loopback = 1

// routeAll has the kernel send everything by the loopback interface to one gateway.
func (s *Server) routeAll(tb testing.TB) {
	tb.Helper()
	gateway := ipv4(netip.MustParseAddr("192.0.2.254"))
	later := uint64(1) << 62
	for _, err := range []error{
		s.maps.Routes.Put(serverPrefix{}, serverRoute{Interface: loopback, Gateway: gateway}),
		s.maps.Neighbors.Put(serverNeighbor{Interface: loopback}, serverStation{}),
		s.maps.Neighbors.Put(serverNeighbor{Interface: loopback, Address: gateway}, serverStation{Used: later, Mac: [6]byte{2, 0, 0, 0, 0, 9}}),
	} {
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// frame is how a question comes.
func (w *twins) frame(q question) datagram {
	to := w.cfg.Primary
	if q.second {
		to = w.cfg.Secondary
	}
	d := newDatagram(ends{near: q.from, far: netip.AddrPortFrom(to, teredo.Port)}, q.payload)
	d.fromMAC, d.summed = [6]byte{2, 0, 0, 0, 0, 1}, true
	return d
}

// ways are the places where the rules run, with the verdicts that they have there.
type way struct {
	name             string
	program          *ebpf.Program
	pass, drop, send uint32
}

func (s *Server) ways() []way {
	ways := []way{{"xdp", s.xdp, 2, 1, 3}}
	if s.tcx != nil {
		ways = append(ways, way{"tcx", s.tcx, ^uint32(0), 2, 7})
	}
	return ways
}

// check asks both, and returns at how many places the kernel has decided.
func (w *twins) check(t *testing.T, q question) (decided int) {
	t.Helper()
	frame := w.frame(q).frame()
	local := server.Primary
	if q.second {
		local = server.Secondary
	}
	v := w.handler.Handle(local, q.from, q.payload, make([]byte, 0, server.MaxOutput))
	for _, way := range w.kernel.ways() {
		before, err := w.kernel.Counts()
		if err != nil {
			t.Fatal(err)
		}
		options := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256)}
		code, err := way.program.Run(&options)
		if err != nil {
			t.Fatal(err)
		}
		after, err := w.kernel.Counts()
		if err != nil {
			t.Fatal(err)
		}
		var want ServerCounts
		wantCode, wantFrame := way.pass, frame
		if code != way.pass {
			decided++
			want = countsOf(v)
			wantCode = way.drop
			if v.Action != server.Drop {
				wantCode, wantFrame = way.send, w.answer(way.name, v, options.DataOut)
			}
		}
		if got := after.less(before); got != want {
			t.Errorf("%s counts %+v; the program %+v", way.name, got, want)
		}
		if code != wantCode || code == way.send && v.Action == server.Native || !bytes.Equal(options.DataOut, wantFrame) {
			t.Errorf("%s: verdict %d, %x\nthe program:  %+v, verdict %d, %x\nto %x from %v", way.name, int32(code), options.DataOut, v, int32(wantCode), wantFrame, q.payload, q.from)
		}
	}
	return decided
}

// answer is the frame that carries what the handler sends. The IPv4 identification is the kernel's own. Behind the driver the
// Ethernet header is replaced later.
func (w *twins) answer(way string, v server.Verdict, got []byte) []byte {
	from := w.cfg.Primary
	if v.Local == server.Secondary {
		from = w.cfg.Secondary
	}
	d := newDatagram(ends{near: netip.AddrPortFrom(from, teredo.Port), far: v.To}, v.Payload)
	d.summed, d.fromMAC = true, [6]byte{2, 0, 0, 0, 0, 1}
	if way == "xdp" {
		d.fromMAC, d.toMAC = [6]byte{}, [6]byte{2, 0, 0, 0, 0, 9}
	}
	if len(got) > headersLen {
		d.id = binary.BigEndian.Uint16(got[ethernetLen+4:])
	}
	return d.frame()
}

// countsOf is how the kernel counts what the handler decides.
func countsOf(v server.Verdict) (c ServerCounts) {
	if v.Kind == server.Solicitation {
		c.Solicitations++
	}
	switch {
	case v.Action == server.Drop:
		*c.Drops.of(v.Reason)++
	case v.Kind == server.Solicitation:
		c.Advertisements++
		if v.Cone {
			c.ToCone++
		}
	case v.Kind == server.Bubble:
		c.Bubbles++
	}
	return c
}

// of is the counter of a reason.
func (d *ServerDrops) of(reason reasons.Reason) *uint64 {
	n := map[reasons.Reason]*uint64{
		reasons.Solicitation: &d.Solicitation, reasons.Destination: &d.Destination, reasons.NotGlobal: &d.NotGlobal,
		reasons.NoSecondAddress: &d.NoSecondAddress, reasons.Loop: &d.Loop, reasons.Budget: &d.Budget,
	}[reason]
	if n == nil {
		return new(uint64) // the kernel does not drop for that reason
	}
	return n
}

func (c ServerCounts) less(b ServerCounts) ServerCounts {
	return ServerCounts{
		c.Solicitations - b.Solicitations, c.Advertisements - b.Advertisements, c.ToCone - b.ToCone, c.Bubbles - b.Bubbles,
		ServerDrops{
			c.Drops.Solicitation - b.Drops.Solicitation, c.Drops.Destination - b.Drops.Destination, c.Drops.NotGlobal - b.Drops.NotGlobal,
			c.Drops.NoSecondAddress - b.Drops.NoSecondAddress, c.Drops.Loop - b.Drops.Loop, c.Drops.Budget - b.Drops.Budget,
		},
	}
}

// questions are datagrams of each kind, with how many of the configurations the kernel may leave to the program.
func questions() (certain, others map[string]question) {
	solicitor, cone := teredo.ClientLinkLocal(false, netip.AddrPort{}), teredo.ClientLinkLocal(true, clientAt)
	rs := func(src netip.Addr) []byte { return teredo.AppendRouterSolicitation(nil, src) }
	nonce := teredo.AppendAuth(nil, teredo.Auth{Nonce: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Confirmation: 9})
	bubble := func(src, dst netip.Addr, trailers ...byte) []byte {
		return append(teredo.AppendBubble(nil, src, dst, 7), trailers...)
	}
	of := func(server netip.Addr, at netip.AddrPort) netip.Addr {
		return teredo.Address{Server: server, Flags: 0x2c5a, Mapped: at}.Addr()
	}
	client, other, foreign := of(primary, clientAt), of(primary, otherAt), of(elsewhere, otherAt)
	native, relay := netip.MustParseAddr("2001:db8:6::1"), netip.MustParseAddr("fe80::1234:5678:9abc:def0")
	changed := func(b []byte, at int, to byte) []byte {
		b = slices.Clone(b)
		b[at] = to
		return b
	}
	// A cone NAT's solicitation whose sum is right although something else is not.
	resummed := func(b []byte, at int, to byte) []byte {
		b = changed(b, at, to)
		b[teredo.HeaderLen+2], b[teredo.HeaderLen+3] = 0, 0
		binary.BigEndian.PutUint16(b[teredo.HeaderLen+2:], ^teredo.UpperLayerSum(b))
		return b
	}
	trailers := teredo.AppendNonceTrailer(nil, [4]byte{1, 2, 3, 4})
	all := teredo.AppendAlternateAddressTrailer(teredo.AppendNonceTrailer(nil, [4]byte{5, 6, 7, 8}), clientAt, otherAt, relayAt, clientAt)
	all = teredo.AppendRandomPortTrailer(teredo.AppendNeighborDiscoveryTrailer(all, 1), 40000)
	elsewhereAt := func(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

	certain = map[string]question{
		"solicitation":                    {from: clientAt, payload: rs(solicitor)},
		"solicitation, secondary":         {second: true, from: clientAt, payload: rs(solicitor)},
		"nonce":                           {from: clientAt, payload: slices.Concat(nonce, rs(solicitor))},
		"cone":                            {from: clientAt, payload: rs(cone)},
		"cone with nonce, secondary":      {second: true, from: clientAt, payload: slices.Concat(nonce, rs(cone))},
		"real Internet":                   {from: elsewhereAt("8.8.8.8:1"), payload: rs(solicitor)},
		"private":                         {from: elsewhereAt("10.1.2.3:4096"), payload: rs(solicitor)},
		"port 0":                          {from: elsewhereAt("8.8.8.8:0"), payload: rs(solicitor)},
		"multicast":                       {from: elsewhereAt("224.0.0.253:4096"), payload: rs(solicitor)},
		"broadcast":                       {from: elsewhereAt("192.0.2.255:4096"), payload: rs(solicitor)},
		"broadcast of a public subnet":    {from: elsewhereAt("8.8.8.127:4096"), payload: rs(solicitor)},
		"ourselves":                       {from: elsewhereAt("192.0.2.1:3544"), payload: rs(solicitor)},
		"a neighbor at our address":       {from: elsewhereAt("192.0.2.1:4096"), payload: rs(solicitor)},
		"hop limit":                       {from: clientAt, payload: changed(rs(solicitor), 7, 254)},
		"checksum":                        {from: clientAt, payload: changed(rs(solicitor), 42, 1)},
		"code":                            {from: clientAt, payload: resummed(rs(solicitor), 41, 1)},
		"reserved":                        {from: clientAt, payload: resummed(rs(solicitor), 45, 1)},
		"from a global address":           {from: clientAt, payload: rs(native)},
		"to all nodes":                    {from: clientAt, payload: resummed(rs(solicitor), 39, 1)},
		"class and label":                 {from: clientAt, payload: changed(changed(rs(solicitor), 0, 0x6f), 3, 9)},
		"bubble":                          {from: clientAt, payload: bubble(client, other)},
		"bubble, secondary":               {second: true, from: clientAt, payload: bubble(client, other)},
		"bubble with a nonce":             {from: clientAt, payload: bubble(client, other, trailers...)},
		"bubble with all trailers":        {from: clientAt, payload: bubble(client, other, all...)},
		"bubble with an odd trailer":      {from: clientAt, payload: bubble(client, other, 1, 1, 7)},
		"bubble as long as authenticated": {from: clientAt, payload: bubble(client, other, make([]byte, 21)...)},
		"bubble to another server's":      {from: clientAt, payload: bubble(client, foreign, all...)},
		"bubble of another server's":      {from: otherAt, payload: bubble(foreign, client)},
		"relay's bubble":                  {from: relayAt, payload: bubble(relay, other)},
		"native bubble":                   {from: relayAt, payload: bubble(native, other)},
		"relay's bubble elsewhere":        {from: relayAt, payload: bubble(relay, foreign)},
		"native bubble elsewhere":         {from: relayAt, payload: bubble(native, foreign)},
		"bubble to a private address":     {from: clientAt, payload: bubble(client, of(primary, elsewhereAt("10.1.2.3:99")))},
		"bubble to port 0":                {from: clientAt, payload: bubble(client, of(primary, elsewhereAt("8.8.8.8:0")))},
		"bubble to ourselves":             {from: clientAt, payload: bubble(client, of(primary, elsewhereAt("192.0.2.2:99")))},
		"bubble from ourselves":           {from: elsewhereAt("192.0.2.1:3544"), payload: bubble(native, other)},
		"bubble from a private address":   {from: elsewhereAt("10.1.2.3:99"), payload: bubble(native, other)},
	}
	others = map[string]question{
		"native option":           {from: clientAt, payload: teredo.AppendNativeSolicitation(nil, solicitor)},
		"identifier":              {from: clientAt, payload: append(teredo.AppendAuth(nil, teredo.Auth{ClientID: []byte("client1")}), rs(solicitor)...)},
		"origin":                  {from: clientAt, payload: append(teredo.AppendOrigin(nil, clientAt), rs(solicitor)...)},
		"solicitation, trailer":   {from: clientAt, payload: append(rs(solicitor), trailers...)},
		"authenticated bubble":    {from: clientAt, payload: append(slices.Clone(nonce), bubble(client, other)...)},
		"authenticated and long":  {from: clientAt, payload: append(slices.Clone(nonce), bubble(client, other, make([]byte, 8)...)...)},
		"too many trailers":       {from: clientAt, payload: bubble(client, other, make([]byte, 45)...)},
		"symmetric":               {from: netip.AddrPortFrom(clientAt.Addr(), 9), payload: bubble(of(elsewhere, clientAt), other, trailers...)},
		"forged":                  {from: relayAt, payload: bubble(client, other)},
		"bubble to native":        {from: clientAt, payload: bubble(client, native)},
		"bubble to all routers":   {from: clientAt, payload: bubble(client, teredo.AllRouters())},
		"server's link-local":     {from: relayAt, payload: bubble(teredo.ServerLinkLocal(primary), other)},
		"unique local":            {from: relayAt, payload: bubble(netip.MustParseAddr("fd00::1"), other)},
		"6to4":                    {from: relayAt, payload: bubble(netip.MustParseAddr("2002:808:808::1"), other)},
		"ISATAP":                  {from: relayAt, payload: bubble(netip.MustParseAddr("2001:db8::200:5efe:808:808"), other)},
		"ORCHID":                  {from: relayAt, payload: bubble(netip.MustParseAddr("2001:20::1"), other)},
		"echo":                    {from: clientAt, payload: teredo.AppendEchoRequest(nil, client, native, 1, 2, make([]byte, 16))},
		"empty":                   {from: clientAt},
		"junk":                    {from: clientAt, payload: bytes.Repeat([]byte{0xff}, 61)},
		"truncated":               {from: clientAt, payload: rs(solicitor)[:47]},
		"IPv6 longer than it is":  {from: clientAt, payload: changed(rs(solicitor), 5, 9)},
		"IPv6 shorter than it is": {from: clientAt, payload: changed(rs(solicitor), 5, 7)},
	}
	return certain, others
}

// TestServerAgrees has the kernel decide as the handler does (S-RS-01, S-RS-03), and leave what it does not know to the program.
func TestServerAgrees(t *testing.T) {
	certain, others := questions()
	signed, refused := secretQuestions()
	maps.Copy(others, refused)
	for name, cfg := range twinConfigs() {
		t.Run(name, func(t *testing.T) {
			w := newTwins(t, cfg)
			check := func(name string, q question, decides bool) {
				if q.second && !cfg.Secondary.IsValid() {
					return
				}
				want := 0
				if decides {
					want = len(w.kernel.ways())
				}
				t.Run(name, func(t *testing.T) {
					if n := w.check(t, q); n != want {
						t.Errorf("the kernel decides at %d places, want %d", n, want)
					}
				})
			}
			for name, q := range certain {
				check(name, q, cfg.Secrets == nil || q.payload[0] != 0 && !teredo.IsICMPv6Type(q.payload, teredo.ICMPv6RouterSolicitation))
			}
			for name, q := range signed {
				check(name, q, cfg.Secrets != nil)
			}
			for name, q := range others {
				check(name, q, false)
			}
		})
	}
}

// TestServerPasses leaves frames to the IPv4 stack that it may not take, or not like this.
func TestServerPasses(t *testing.T) {
	w := newTwins(t, twinConfig())
	certain, _ := questions()
	for name, change := range map[string]func(*datagram){
		"options":         func(d *datagram) { d.options = make([]byte, 4) },
		"fragment":        func(d *datagram) { d.fragment = 0x2000 },
		"last fragment":   func(d *datagram) { d.fragment = 1 },
		"reserved bit":    func(d *datagram) { d.fragment = 0x8000 },
		"header checksum": func(d *datagram) { d.sumMore = 1 },
		"version":         func(d *datagram) { d.version = 5 },
		"protocol":        func(d *datagram) { d.protocol = tcp },
		"IPv4 length":     func(d *datagram) { d.ipMore = 1 },
		"UDP length":      func(d *datagram) { d.udpMore = -1 },
		"another host":    func(d *datagram) { d.toMAC = [6]byte{2, 0, 0, 0, 0, 7} },
		"port":            func(d *datagram) { d.far = netip.AddrPortFrom(primary, 3545) },
		"address":         func(d *datagram) { d.far = netip.AddrPortFrom(elsewhere, teredo.Port) },
	} {
		for _, kind := range []string{"nonce", "bubble with all trailers"} {
			d := w.frame(certain[kind])
			change(&d)
			for _, way := range w.kernel.ways() {
				if code, after := runProgram(t, way.program, d.frame(), nil); uint32(code) != way.pass || !bytes.Equal(after, d.frame()) {
					t.Errorf("%s, %s, %s: verdict %d", name, kind, way.name, code)
				}
			}
		}
	}
	d := w.frame(certain["nonce"])
	frame := d.frame()
	frame[headersLen-1] ^= 1 // of the UDP checksum
	padded := append(d.frame(), 0)
	d.summed = false
	for _, way := range w.kernel.ways() {
		for name, b := range map[string][]byte{"UDP checksum": frame, "padding": padded} {
			if code, _ := runProgram(t, way.program, b, nil); uint32(code) != way.pass {
				t.Errorf("%s, %s: verdict %d", name, way.name, code)
			}
		}
		if code, _ := runProgram(t, way.program, d.frame(), nil); uint32(code) != way.send {
			t.Errorf("no UDP checksum (RFC 768), %s: verdict %d", way.name, code)
		}
	}
}

// FuzzServer gives any datagrams to both (S-RS-05): as they are, with the checksum of a solicitation made right, signed by the client that
// they name, and from where the source of a bubble says.
func FuzzServer(f *testing.F) {
	needsBPF(f)
	certain, others := questions()
	signed, refused := secretQuestions()
	for _, list := range []map[string]question{certain, others, signed, refused} {
		for _, q := range list {
			f.Add(q.second, binary.BigEndian.Uint32(q.from.Addr().AsSlice()), q.from.Port(), q.payload)
		}
	}
	var all []*twins
	for _, cfg := range twinConfigs() {
		all = append(all, newTwins(f, cfg))
	}
	f.Fuzz(func(t *testing.T, second bool, ip uint32, port uint16, payload []byte) {
		if len(payload) > 1400 {
			return
		}
		var from [4]byte
		binary.BigEndian.PutUint32(from[:], ip)
		questions := []question{{second, netip.AddrPortFrom(netip.AddrFrom4(from), port), payload}}
		var p teredo.Packet
		resummed := bytes.Clone(payload)
		if p.Parse(resummed) == nil && len(p.IPv6) >= teredo.HeaderLen+4 {
			p.IPv6[teredo.HeaderLen+2], p.IPv6[teredo.HeaderLen+3] = 0, 0
			binary.BigEndian.PutUint16(p.IPv6[teredo.HeaderLen+2:], ^teredo.UpperLayerSum(p.IPv6))
			questions = append(questions, question{second, questions[0].from, resummed})
		}
		if resigned := bytes.Clone(resummed); p.Parse(resigned) == nil && p.HasAuth {
			value := teredo.AuthValue(sharedKeys()[string(p.Auth.ClientID)], p.Auth.Nonce, p.Auth.Confirmation, p.Origin, p.IPv6)
			copy(p.Auth.Value, value[:])
			questions = append(questions, question{second, questions[0].from, resigned})
		}
		if p.Parse(payload) == nil && teredo.IsTeredo(teredo.Source(p.IPv6)) {
			questions = append(questions, question{second, teredo.Mapped(teredo.Source(p.IPv6)), payload})
		}
		for _, w := range all {
			for _, q := range questions {
				q.second = q.second && w.cfg.Secondary.IsValid()
				w.check(t, q)
			}
		}
	})
}
