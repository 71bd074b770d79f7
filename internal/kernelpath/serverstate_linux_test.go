package kernelpath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/budget"
	"github.com/teredo-suite/teredo/teredo"
)

// TestServerRoutes leaves datagrams to the program that no route is known for, or another than the one that they came by.
func TestServerRoutes(t *testing.T) {
	w := newTwins(t, twinConfig())
	certain, _ := questions()
	put := func(prefix string, r serverRoute) {
		must(t, w.kernel.maps.Routes.Put(prefixKey(netip.MustParsePrefix(prefix)), r))
	}
	want := func(what, kind string, sends ...bool) {
		t.Helper()
		for i, way := range w.kernel.ways() {
			if code, _ := runProgram(t, way.program, w.frame(certain[kind]).frame(), nil); (uint32(code) == way.send) != sends[i] {
				t.Errorf("%s, %s: %s has the verdict %d", what, kind, way.name, code)
			}
		}
	}
	put("203.0.113.128/25", serverRoute{})
	want("unusable", "nonce", true, true)
	want("unusable", "bubble", false, false)
	put("203.0.113.128/25", serverRoute{Interface: 99})
	want("by another interface", "nonce", true, true)
	want("by another interface", "bubble", false, true) // a driver sends by its own interface alone
	put("203.0.113.0/25", serverRoute{Interface: 99})
	want("back by another interface", "nonce", false, false)
	put("203.0.113.0/25", serverRoute{Interface: loopback, Gateway: 7})
	want("without a neighbor", "nonce", false, true)
	must(t, w.kernel.maps.Neighbors.Put(serverNeighbor{Interface: loopback, Address: 7}, serverStation{}))
	within(func() {
		want("to be tested", "nonce", false, true)
		want("was tested", "nonce", true, true)
		must(t, w.kernel.maps.Neighbors.Put(serverNeighbor{Interface: loopback, Address: 7}, serverStation{}))
	})
}

// TestServerBudget has kernel and program use one budget (SEC-NOAMP-01).
func TestServerBudget(t *testing.T) {
	needsBPF(t)
	cfg := kernelConfig(twinConfig())
	cfg.Rate, cfg.Sources = budget.Rate{PerSecond: 1, Burst: 10}, 4096
	cfg.Started = time.Now().Add(-time.Hour)
	k := openServer(t, cfg)
	k.routeAll(t)
	w := &twins{cfg: twinConfig(), kernel: k}
	certain, _ := questions()
	for i, way := range k.ways() {
		q := certain["nonce"]
		q.from = netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprint("203.0.113.", 1+i)), 4096)
		key := uint64(binary.BigEndian.Uint32(q.from.Addr().AsSlice()))
		// All at one moment, which is later than the kernel's: budgets do not fill up while this runs.
		now := int64(time.Since(cfg.Started) + time.Hour)
		for range 4 {
			if !k.Sources().Allow(now, key) {
				t.Fatal("the program's datagrams are more than the budget")
			}
		}
		before, err := k.Counts()
		must(t, err)
		if code, _ := runProgram(t, way.program, w.frame(q).frame(), nil); uint32(code) != way.drop {
			t.Errorf("%s: verdict %d although the program has used the budget", way.name, code)
		}
		after, err := k.Counts()
		must(t, err)
		if got := after.less(before); got.Drops.Budget != 1 || got.Solicitations != 1 || got.Advertisements != 0 {
			t.Errorf("%s: %+v", way.name, got)
		}
		q.from = netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprint("203.0.113.", 101+i)), 4096)
		key = uint64(binary.BigEndian.Uint32(q.from.Addr().AsSlice()))
		sent := 0
		within(func() {
			sent = 0
			for range 20 {
				if code, _ := runProgram(t, way.program, w.frame(q).frame(), nil); uint32(code) == way.send {
					sent++
				}
			}
		})
		if sent > 11 {
			t.Errorf("%s: %d answers at once, budget 10", way.name, sent)
		}
		left := 0
		for range 10 {
			if k.Sources().Allow(int64(time.Since(cfg.Started)), key) {
				left++
			}
		}
		if left > 5 { // it fills up by one in a second
			t.Errorf("%s: the program does not know what the kernel has used, but may send %d", way.name, left)
		}
	}
}

// TestServerChanges has secrets and the filter replaced while the server runs.
func TestServerChanges(t *testing.T) {
	w := newTwins(t, twinConfig())
	certain, _ := questions()
	if n := w.check(t, certain["nonce"]); n == 0 {
		t.Fatal("no answer")
	}
	must(t, w.kernel.SetSecrets(map[string]Secret{}))
	if n := w.check(t, certain["nonce"]); n != 0 {
		t.Error("answers although secrets are required")
	}
	must(t, w.kernel.SetSecrets(nil))
	narrow := teredo.Filter{Permit: twinConfig().Filter.Permit[1:2]}
	must(t, w.kernel.SetFilter(narrow))
	w.handler.SetFilter(narrow)
	for _, kind := range []string{"nonce", "bubble", "relay's bubble", "broadcast of a public subnet"} {
		if n := w.check(t, certain[kind]); n == 0 {
			t.Errorf("%s: the kernel does not decide", kind)
		}
	}
}
