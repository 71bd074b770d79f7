//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/internal/web"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// wantNoFaults checks that nothing was wrong since the last time, but what begins like expected faults.
func (b *browser) wantNoFaults(expected ...string) {
	b.w.t.Helper()
	if faults := b.takeFaults(expected...); len(faults) > 0 {
		b.w.t.Errorf("faults: %q", faults)
	}
}

// field is the value that the page shows for a field of the status.
func (b *browser) field(name string) string {
	return eval[string](b, fmt.Sprintf("[...document.querySelectorAll('#everything tbody tr')].find((r) => r.cells[0].textContent === %q)?.cells[1].textContent ?? ''", name))
}

// TestPage has a real browser at a client show the page: with the token, the values of the program while it carries traffic, pings at a
// click, by keyboard, on a narrow screen, in the dark, and again when the program has been started again.
func TestPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	token := w.file("token", webToken)
	w.startServer(ours)
	w.startRelay(ours)
	flags := []string{"--web", "127.0.0.1:9544", "--web-token-file", token}
	client, addr1 := w.startClient("client1", ours, flags...)
	_, addr2 := w.startClient("client2", ours)
	w.ping("client1", addr2)
	native := netip.MustParseAddr(lab.NativeAddr)
	w.start("client1", "ping", "-6", "-n", "-q", "-i", "0.1", native.String())

	b := w.browse("client1", "http://127.0.0.1:9544/")
	b.until("the form for the token", "!document.querySelector('#login').hidden")
	b.do("give a wrong token", chromedp.SetValue("#token", "x"+webToken), chromedp.Click("#login button"))
	b.until("its refusal", "document.querySelector('#refused').textContent !== '' && document.querySelector('#content').hidden")
	b.login(webToken)
	b.wantNoFaults("401")
	if policy := eval[string](b, "fetch('/').then((r) => r.headers.get('content-security-policy'))"); policy != pagePolicy {
		t.Errorf("policy %q", policy)
	}
	b.takeFaults("401") // that the page is asked for without the token
	b.until("the verdict", "document.querySelector('#health').dataset.level === 'good'")

	// Values are those of the program.
	for _, want := range []string{addr1.String(), lab.ServerAddr, "restricted"} {
		b.until(want, fmt.Sprintf("document.querySelector('#facts').innerText.includes(%q)", want))
	}
	b.do("open everything", chromedp.Click("#everything summary"))
	var before, after map[string]any
	decode := func(into *map[string]any) {
		if err := json.Unmarshal([]byte(w.query("client1", "client", "status")), into); err != nil {
			t.Fatal(err)
		}
	}
	decode(&before)
	b.until("the packets of the status", fmt.Sprintf("Number([...document.querySelectorAll('#everything tbody tr')].find((r) => r.cells[0].textContent === 'sent_packets')?.cells[1].textContent) >= %v", before["sent_packets"]))
	shown := b.field("sent_packets")
	decode(&after)
	var sent float64
	if _, err := fmt.Sscan(shown, &sent); err != nil || sent > after["sent_packets"].(float64) {
		t.Errorf("the page shows %s sent packets, the program says %v", shown, after["sent_packets"])
	}
	for _, field := range []string{"address", "mapped", "local", "nat", "state"} {
		if got := b.field(field); got != fmt.Sprint(after[field]) {
			t.Errorf("the page shows %s %q, the program says %v", field, got, after[field])
		}
	}
	b.until("the rate of what is relayed", "/Relays: ↓ [1-9]/.test(document.querySelector('#map svg').getAttribute('aria-label'))")
	b.do("show the plots", chromedp.ScrollIntoView(".plots")) // those that are out of sight are not drawn
	b.until("a plot with values", "[...document.querySelectorAll('.plots .legend li')].some((l) => /^Relayed.*[1-9]/.test(l.innerText.replaceAll('\\n', ' ')))")

	// Peers, and a ping at a click.
	b.do("show peers", chromedp.ScrollIntoView("#peers"))
	for _, peer := range []netip.Addr{addr2, native} {
		b.until("a row of "+peer.String(), fmt.Sprintf("document.querySelector('#peers tbody').innerText.includes(%q)", peer))
	}
	b.until("the decoded address", fmt.Sprintf("document.querySelector('#peers tbody').innerText.includes(%q)", teredo.Mapped(addr2)))
	button := fmt.Sprintf("document.querySelector('button[aria-label=\"Ping %v\"]')", addr2)
	eval[bool](b, fmt.Sprintf("(window.button = %s, window.rows = document.querySelector('#peers tbody').innerText, true)", button))
	b.until("newer rows", "document.querySelector('#peers tbody').innerText !== rows")
	if !eval[bool](b, "button === "+button) {
		t.Error("a refresh of the table replaces the button that somebody may be pressing")
	}
	b.do("ping the client", chromedp.Click(fmt.Sprintf(`button[aria-label="Ping %v"]`, addr2)))
	b.until("an answer", "document.querySelector('#ping li.good')?.innerText.includes('direct')")
	b.until("events", "document.querySelector('#event-list').innerText.includes('qualified')")
	b.wantNoFaults()

	b.checkKeyboard()
	b.checkNames()

	// A narrow screen, and colours.
	b.size(360, 640)
	b.until("the narrow page", "document.documentElement.clientWidth === 360")
	if width := eval[float64](b, "document.documentElement.scrollWidth"); width > 360 {
		wide := eval[string](b, "[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > 361).map((e) => e.tagName + '.' + e.className + '#' + e.id).join(' ')")
		t.Errorf("360 pixels are too few: the page is %v wide, by %s", width, wide)
	}
	b.size(1240, 1000)
	const background = "getComputedStyle(document.body).backgroundColor"
	b.colours("light")
	b.until("light colours", background+" === 'rgb(246, 247, 249)'")
	b.colours("dark")
	b.until("dark colours", background+" === 'rgb(15, 19, 24)'")
	b.do("choose light", chromedp.Click("#theme"))
	b.until("the chosen colours", background+" === 'rgb(246, 247, 249)'")
	b.wantNoFaults("401")

	// The program goes, and comes again.
	w.stop(client)
	b.until("that it is gone", "document.querySelector('#verdict').textContent === 'The program does not answer.'")
	w.startClient("client1", ours, flags...)
	b.until("that it is there again", "document.querySelector('#health').dataset.level === 'good'")
	b.until("its events", "document.querySelectorAll('#event-list li').length > 0")
	b.wantNoFaults("net::ERR_", "Failed to load resource", "401")
}

// checkKeyboard goes through the page with the tab key, in the order of the page, and sorts the table of peers.
func (b *browser) checkKeyboard() {
	b.w.t.Helper()
	eval[bool](b, "window.before = true")
	b.do("begin at the top", chromedp.Reload())
	b.until("the new page", "!window.before")
	b.until("the page", "document.querySelectorAll('#peers tbody tr').length > 0 || scrollTo(0, document.body.scrollHeight)")
	eval[bool](b, "(document.activeElement.blur(), scrollTo(0, 0), true)")
	seen := []string{}
	for range 60 {
		b.do("press tab", chromedp.KeyEvent(kb.Tab))
		seen = append(seen, eval[string](b, `(() => { const e = document.activeElement, was = globalThis.before; globalThis.before = e;
			return (was && !(was.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING) ? 'BACKWARDS ' : '') + (e.textContent || e.getAttribute('aria-label') || e.id || e.type) })()`))
		if strings.HasPrefix(seen[len(seen)-1], "Received") {
			break
		}
	}
	last := seen[len(seen)-1]
	if !strings.HasPrefix(seen[0], "Skip to") || !strings.HasPrefix(last, "Received") || slices.ContainsFunc(seen, func(s string) bool { return strings.HasPrefix(s, "BACKWARDS") }) {
		b.w.t.Errorf("the tab key goes to %q", seen)
		return
	}
	const order = "[...document.querySelectorAll('#peers th')].find((h) => h.innerText.startsWith('Received')).getAttribute('aria-sort')"
	for _, want := range []string{"descending", "ascending"} {
		b.do("press enter", chromedp.KeyEvent(kb.Enter))
		b.until("the order", order+" === '"+want+"'")
	}
	if ring := eval[string](b, "getComputedStyle(document.activeElement).outlineStyle"); ring == "none" {
		b.w.t.Error("it cannot be seen what has the focus")
	}
}

// checkNames checks that what can be used, and what is a picture, has a name for those that do not see it.
func (b *browser) checkNames() {
	b.w.t.Helper()
	nameless := eval[string](b, `[...document.querySelectorAll('input, button, meter, [role=img], section:not([hidden]), th:not([scope])')].filter((e) =>
		!(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') && document.getElementById(e.getAttribute('aria-labelledby')) || e.labels?.length || e.tagName === 'BUTTON' && e.textContent || e.id === 'health'))
		.map((e) => e.outerHTML.slice(0, 200)).join('\n')`)
	if nameless != "" {
		b.w.t.Errorf("without a name: %s", nameless)
	}
	if n := eval[float64](b, "document.querySelectorAll('h1').length"); n != 1 {
		b.w.t.Errorf("%v titles", n)
	}
}

// TestPageOfServices has a browser show the pages of a server and of a relay that have no token, as they answer this host only.
func TestPageOfServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.start("server", w.serverCommand("--web", "127.0.0.1:9545")...)
	relay := w.start("relay", w.relayCommand("--web", "127.0.0.1:9546")...)
	w.untilRelays(relay)
	w.startClient("client1", ours)
	w.start("client1", "ping", "-6", "-n", "-q", "-i", "0.1", lab.NativeAddr)
	for _, test := range []struct {
		host, url string
		wants     []string
	}{
		{"server", "http://127.0.0.1:9545/", []string{"The server serves.", "Qualification", "Passed on", "Drops by reason", lab.ServerAddr}},
		{"relay", "http://127.0.0.1:9546/", []string{"The relay carries packets.", "Traffic by path", "Peers by state", "Budgets that strangers have exhausted", "List of peers: 1 of", lab.RelayAddr}},
	} {
		b := w.browse(test.host, test.url)
		for _, want := range test.wants {
			b.until(want, fmt.Sprintf("document.body.innerText.includes(%q)", want))
		}
		if !eval[bool](b, "!document.querySelector('#locked').hidden && document.querySelector('#peers').hidden && document.querySelector('#events').hidden") {
			t.Errorf("%s: the page does not say what needs a token", test.host)
		}
		b.until("counters that grow", "[...document.querySelectorAll('#everything tbody')].length === 1 && (document.querySelector('#everything').open = true) && [...document.querySelectorAll('#everything tbody tr')].some((r) => r.cells[2].textContent || /solicitations/.test(r.cells[0].textContent) && r.cells[1].textContent > 0)")
		b.checkNames()
		if test.host == "relay" { // which has somebody to serve, so it goes on
			w.run("relay", program("relay"), "drain", "--no-wait", "--control", w.control("relay"))
			b.until("the drain", "document.body.innerText.includes('The relay drains.')")
		}
		b.wantNoFaults()
	}
}

// TestPageOfManyPeers has a browser show 5000 peers with hostile words: the page has the rows that are in sight and no more, sorts and
// searches all, runs nothing that others have written, and gets less than 5 kB a second.
func TestPageOfManyPeers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	const hostile = `<img src=x onerror="document.title='broken'">`
	peers := make([]tunnel.Peer, 5000)
	for i := range peers {
		mapped := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), uint16(10000+i))
		peers[i] = tunnel.Peer{
			Address: teredo.Address{Server: netip.MustParseAddr(lab.ServerAddr), Mapped: mapped}.Addr(), Endpoint: mapped, State: hostile, Path: "direct",
			ReceivedBytes: uint64(i*7919%len(peers)) * 1000, SentBytes: uint64(i) * 999, HeardSeconds: float64(i) / 3,
		}
	}
	var samples atomic.Uint64
	var site *web.Site
	token := w.file("token", webToken)
	if err := w.Host("client1").Do(func() (err error) {
		site, err = web.Listen(web.Config{Address: netip.MustParseAddrPort("127.0.0.1:9544"), TokenFile: token})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- site.Serve(ctx, web.Program{
			Name: "client", Version: hostile,
			Status: func(context.Context) (web.Status, error) {
				n := samples.Add(1)
				return web.Status{Value: map[string]any{
					"state": "offline", "last_error": hostile, "waiting_for": hostile, "peers": len(peers), "uptime_seconds": n, "sent_packets": n * 1000, "received_packets": n * 2000,
					"sent_bytes": n * 1e6, "received_bytes": n * 2e6, "paths": map[string]any{"direct": map[string]any{"sent_bytes": n * 1e6, "received_bytes": n * 2e6}},
					"drops": map[string]any{hostile: n}, "address": hostile, "server": hostile,
				}, Answered: true}, nil
			},
			Peers: func(context.Context) (any, error) { return peers, nil },
			Log: func(after uint64) ([]string, uint64) {
				return []string{`time=` + hostile + ` level=WARN msg=` + hostile, hostile}[min(after, 2):], 2
			},
		})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	b := w.browse("client1", "http://127.0.0.1:9544/")
	b.login(webToken)
	b.takeFaults("401")
	b.size(1240, 3000)
	b.until("peers", "document.querySelectorAll('#peers tbody tr').length === 25 && document.querySelector('#peers').innerText.includes('1–25 of 5')")
	b.until("a verdict", "document.querySelector('#health').dataset.level === 'bad'")
	b.do("sort", chromedp.Click("#peers th:nth-child(6) button"))
	b.until("the largest first", "document.querySelector('#peers tbody tr td:nth-child(6)').innerText.includes('5 MB')")
	b.do("turn the page", chromedp.Click("#peers .pager button:last-child"))
	b.until("the next rows", "document.querySelector('#peers').innerText.includes('26–50 of 5')")
	b.do("search", chromedp.SendKeys("#peers input", "203.0.1.7:"))
	b.until("what was searched", "document.querySelectorAll('#peers tbody tr').length === 1 && document.querySelector('#peers').innerText.includes('203.0.1.7:10263')")
	eval[bool](b, "((field) => { field.value = ''; return field.dispatchEvent(new Event('input')) })(document.querySelector('#peers input'))")
	b.until("all", "document.querySelectorAll('#peers tbody tr').length === 25")

	const elements = "document.querySelectorAll('*').length"
	many := eval[float64](b, elements)
	got, from := b.bytes(), samples.Load()
	b.until("twelve more samples", fmt.Sprintf("performance.now() > 0 && Number([...document.querySelectorAll('#uptime')].map((e) => e.textContent.replace(/\\D*(?:(\\d+) min )?(\\d+) s/, (_, m, s) => (m ?? 0) * 60 + Number(s)))[0]) >= %d", from+12))
	perSample := (b.bytes() - got) / float64(samples.Load()-from)
	t.Logf("%.0f elements; %.0f bytes a sample", many, perSample)
	if perSample <= 0 || perSample >= 5000 {
		t.Errorf("%.0f bytes a second", perSample)
	}
	if now := eval[float64](b, elements); now > 2000 || now > many+100 {
		t.Errorf("%.0f elements, %.0f before", now, many)
	}
	if title := eval[string](b, "document.title"); title != "✗ Teredo client" {
		t.Errorf("title %q", title)
	}
	if n := eval[float64](b, "document.images.length"); n != 0 {
		t.Errorf("%v pictures came out of words", n)
	}
	b.until("the words as they are", fmt.Sprintf("document.querySelector('#peers tbody').innerText.includes(%[1]q) && document.querySelector('#event-list').innerText.includes(%[1]q) && document.querySelector('#reason').innerText.includes(%[1]q)", hostile))
	b.wantNoFaults()
}
