package integration

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/teredo-suite/teredo/integration/lab"
)

var pictures = flag.String("pictures", "", "folder that TestPictures writes pictures of the page into; make screenshots sets it")

// TestPictures makes the pictures of the page that the documentation shows, while the lab carries traffic. It is a command, in the
// form of a test as it needs all that the tests have: make screenshots.
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("make screenshots runs it")
	}
	w := newWorld(t, lab.PortRestricted)
	token := w.file("token", webToken)
	w.start("server", w.serverCommand("--web", lab.ServerAddr+":9545", "--web-token-file", token)...)
	w.untilRelays(w.start("relay", w.relayCommand("--web", lab.RelayAddr+":9546", "--web-token-file", token)...))
	w.startClient("client1", ours, "--web", "127.0.0.1:9544", "--web-token-file", token)
	_, addr2 := w.startClient("client2", ours)
	native := netip.MustParseAddr(lab.NativeAddr)
	w.ping("client1", addr2)
	for _, way := range []struct {
		from, to string
		addr     netip.Addr
		every    string
		size     int
	}{{"client1", "native", native, "0.02", 1000}, {"client1", "client2", addr2, "0.03", 700}, {"client2", "native", native, "0.05", 400}} {
		w.start(way.from, "ping", "-6", "-n", "-q", "-i", way.every, "-s", fmt.Sprint(way.size), way.addr.String())
	}
	for name, url := range map[string]string{"client": "http://127.0.0.1:9544", "server": "http://" + lab.ServerAddr + ":9545", "relay": "http://" + lab.RelayAddr + ":9546"} {
		b := w.browse("client1", url+"/")
		b.size(1240, 1000)
		b.login(webToken)
		b.until("a minute of samples", "document.querySelectorAll('.plot canvas').length > 0 && (globalThis.since ??= performance.now()) + 45000 < performance.now()")
		if name == "client" {
			b.do("ping", chromedp.SendKeys("#ping input", lab.NativeAddr), chromedp.Click("#ping button"))
			b.until("answers", "document.querySelectorAll('#ping li').length === 5")
		}
		for _, colours := range []string{"light", "dark"} {
			b.colours(colours)
			b.until("the colours", fmt.Sprintf("document.documentElement.dataset.theme === %q", colours))
			picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(*pictures, name+"-"+colours+".png"), picture, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if faults := b.takeFaults("401"); len(faults) > 0 {
			t.Errorf("%s: %q", name, faults)
		}
	}
}

// login gives the page the token.
func (b *browser) login(token string) {
	b.w.t.Helper()
	b.until("the form for the token", "!document.querySelector('#login').hidden")
	b.do("give the token", chromedp.SetValue("#token", token), chromedp.Click("#login button"))
	b.until("the page", "!document.querySelector('#content').hidden")
}
