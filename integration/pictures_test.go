//go:build linux

package integration

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	pictureWidth = 1240       // pixels
	mostPicture  = 200 * 1000 // bytes
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
	w.file("client1.traffic", pastTraffic(time.Now()))
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
		b.size(pictureWidth, 3000) // so that every part is in sight, and drawn
		b.login(webToken)
		if name == "client" {
			b.do("ping", chromedp.SendKeys("#ping input", lab.NativeAddr), chromedp.Click("#ping button"))
			b.until("answers", "document.querySelectorAll('#ping li').length === 5")
		}
		if name != "server" {
			b.until("rates of peers", "document.querySelector('#peers tbody')?.innerText.includes('↓')")
		}
		b.until("some samples", "(globalThis.since ??= performance.now()) + 30000 < performance.now()")
		b.size(pictureWidth, int64(eval[float64](b, "document.querySelector('footer').getBoundingClientRect().bottom")))
		for _, colours := range []string{"light", "dark"} {
			b.colours(colours)
			b.until("the colours", fmt.Sprintf("document.documentElement.dataset.theme === %q", colours))
			b.until("a new sample", "(globalThis.turned ??= performance.now()) + 2000 < performance.now() && delete globalThis.turned")
			picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			small, err := fewColours(picture)
			if err != nil {
				t.Fatal(err)
			}
			if len(small) > mostPicture {
				t.Errorf("the picture of the %s has %d bytes, more than %d", name, len(small), mostPicture)
			}
			if err := os.WriteFile(filepath.Join(*pictures, name+"-"+colours+".png"), small, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if faults := b.takeFaults("401"); len(faults) > 0 {
			t.Errorf("%s: %q", name, faults)
		}
	}
}

// pastTraffic is a history of 30 days, in which IPv6 takes over.
func pastTraffic(now time.Time) string {
	var days []map[string]any
	for i := range 30 {
		date := now.AddDate(0, 0, i-29).Format(time.DateOnly)
		busy := 1 + 0.4*math.Sin(float64(i)*2.2)
		if i == 29 {
			busy = 0.0001 // today is what the lab carries
		}
		days = append(days, map[string]any{
			"date": date, "ipv4_bytes": int(busy * (9e9 - 2.2e8*float64(i))), "ipv6_bytes": int(busy * 1.1e8 * float64(i)), "teredo_bytes": int(busy * (1.2e9 + 5e7*float64(i))),
		})
	}
	text, err := json.Marshal(map[string]any{"days": days})
	if err != nil {
		panic(err) // it is made of numbers and words
	}
	return string(text)
}

// fewColours makes a picture small: it keeps the 256 colours that are most frequent, and shows the others as the nearest of these.
func fewColours(file []byte) ([]byte, error) {
	picture, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	often := make(map[color.Color]int)
	bounds := picture.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			often[picture.At(x, y)]++
		}
	}
	palette := slices.SortedFunc(maps.Keys(often), func(a, b color.Color) int { return cmp.Compare(often[b], often[a]) })
	small := image.NewPaletted(bounds, palette[:min(len(palette), 256)])
	draw.Draw(small, bounds, picture, bounds.Min, draw.Src)
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small)
	return out.Bytes(), err
}

// login gives the page the token.
func (b *browser) login(token string) {
	b.w.t.Helper()
	b.until("the form for the token", "!document.querySelector('#login').hidden")
	b.do("give the token", chromedp.SetValue("#token", token), chromedp.Click("#login button"))
	b.until("the page", "!document.querySelector('#content').hidden")
}
