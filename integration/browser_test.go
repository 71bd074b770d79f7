//go:build linux

package integration

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a real browser on a host of the lab, which has one page open.
type browser struct {
	w      *world
	ctx    context.Context
	origin string // of the page

	mu       sync.Mutex
	faults   []string // errors on the console, breaches of the content policy, requests to others
	received float64  // bytes, as they cross the network
}

// browse opens a page in a browser on a host.
func (w *world) browse(host, page string) *browser {
	w.t.Helper()
	at, err := url.Parse(page)
	if err != nil {
		w.t.Fatal(err)
	}
	folder, err := filepath.Abs(filepath.Join(w.Folder(), fmt.Sprintf("browser%d", time.Now().UnixNano())))
	if err != nil {
		w.t.Fatal(err)
	}
	enter, err := exec.LookPath("nsenter")
	if err != nil {
		w.t.Fatal(err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(folder),
		chromedp.WSURLReadTimeout(startTimeout),
		chromedp.ModifyCmdFunc(func(c *exec.Cmd) {
			c.Args = slices.Concat([]string{"nsenter", "--net=" + w.Host(host).Namespace(), "--", c.Path}, c.Args[1:])
			c.Path = enter
			c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		}))
	all, end := chromedp.NewExecAllocator(w.t.Context(), options...)
	b := &browser{w: w, origin: at.Scheme + "://" + at.Host}
	var closed context.CancelFunc
	b.ctx, closed = chromedp.NewContext(all)
	w.t.Cleanup(func() {
		closed()
		end()
	})
	if err := chromedp.Listen(b.ctx, b.note); err != nil {
		w.t.Fatalf("start a browser: %v", err)
	}
	b.do("listen", command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}))
	b.do("open "+page, chromedp.Navigate(page))
	return b
}

// note keeps what a test wants to know of what the browser has seen.
func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fault := func(format string, args ...any) { b.faults = append(b.faults, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fault("exception: %s", e.ExceptionDetails.Text+describe(e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			var words []string
			for _, arg := range e.Args {
				words = append(words, describe(arg))
			}
			fault("console: %s", strings.Join(words, " "))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning || e.Entry.Source == log.EntrySourceSecurity {
			fault("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.origin+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
			fault("request to %s", e.Request.URL)
		}
	case *network.EventDataReceived:
		b.received += float64(e.EncodedDataLength)
	}
}

func describe(o *runtime.RemoteObject) string {
	if o == nil {
		return ""
	}
	return string(o.Value) + o.Description
}

// takeFaults returns the faults since the last time, without those that begin like expected ones.
func (b *browser) takeFaults(expected ...string) (faults []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		if !slices.ContainsFunc(expected, func(e string) bool { return strings.Contains(f, e) }) {
			faults = append(faults, f)
		}
	}
	b.faults = nil
	return faults
}

func (b *browser) bytes() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.received
}

// do has the browser do something.
func (b *browser) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.w.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, startTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.w.t.Fatalf("%s: %v; faults: %q", what, err, b.takeFaults())
	}
}

// command is a command of the protocol as an action.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// eval returns the value of an expression.
func eval[T any](b *browser, expression string) T {
	b.w.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, startTimeout)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.w.t.Fatalf("%s: %v; faults: %q", expression, err, b.takeFaults())
	}
	return value
}

// until waits until an expression is true. An expression that fails is asked again, as the page may be about to be loaded anew.
func (b *browser) until(what, expression string) {
	b.w.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, startTimeout)
	defer cancel()
	for {
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if is {
			return
		}
		select {
		case <-ctx.Done():
			text := eval[string](b, "document.body.innerText")
			b.w.t.Fatalf("waiting for %s (%s): %v; faults %q; the page says: %s", what, expression, err, b.takeFaults(), text)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// size gives the window a size in pixels.
func (b *browser) size(width, height int64) {
	b.w.t.Helper()
	b.do("set the size", chromedp.EmulateViewport(width, height))
}

// colours has the system ask for light or dark colours.
func (b *browser) colours(scheme string) {
	b.w.t.Helper()
	b.do("set the colours", command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}))
}
