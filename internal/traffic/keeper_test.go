package traffic

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A power cut loses five minutes at most, and the end of the program nothing: the last reading is made before the tunnel goes.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "client.traffic")
		start := time.Now()
		made, gone := start, false // the tunnel
		read := func() (Reading, error) {
			if gone {
				return Reading{}, errors.New("the interface is gone")
			}
			seconds := uint64(time.Since(start).Seconds())
			tunnel := uint64(time.Since(made).Seconds())
			return Reading{
				Boot: "boot", Namespace: "net", Uptime: time.Since(start),
				Host: Host{IPv4: 10 * seconds, IPv6: seconds}, Tunnel: Tunnel{Teredo: tunnel, InIPv6: tunnel},
			}, nil
		}
		log := new(strings.Builder)
		logger := slog.New(slog.NewTextHandler(log, nil))
		k := NewKeeper(path, read, logger)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx, func() { gone = true }) }()
		synctest.Wait()
		for range 20 {
			time.Sleep(time.Minute)
			synctest.Wait()
			now := uint64(time.Since(start).Seconds())
			lost := now*10 - NewKeeper(path, func() (Reading, error) { return Reading{}, errors.New("not now") }, slog.New(slog.DiscardHandler)).Report().Summary().Last30Days.IPv4
			if lost > 10*300 {
				t.Errorf("after %d s a power cut would lose %d bytes", now, lost)
			}
			if got := k.Report().Summary().Last30Days; got != (Bytes{10 * now, 0, now}) {
				t.Errorf("after %d s: %+v", now, got)
			}
		}
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		k.Report() // asks for no more
		end := uint64(time.Since(start).Seconds())
		made, gone = time.Now(), false
		again := NewKeeper(path, read, logger)
		if got := again.Report().Summary().Last30Days; got != (Bytes{10 * end, 0, end}) {
			t.Errorf("after the end: %+v, want what %d s have", got, end)
		}
		if log.String() != "" {
			t.Errorf("the log has %s", log)
		}
		if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
			t.Errorf("files %v, %v", files, err)
		}
	})
}

// A file that is no history, a folder that cannot be written to, and counters that cannot be read are told once, and harm nothing else.
func TestKeeperFails(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "client.traffic")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(strings.Builder)
	k := NewKeeper(path, func() (Reading, error) { return Reading{}, errors.New("no counters") }, slog.New(slog.NewTextHandler(log, nil)))
	for range 3 {
		if r := k.Report(); r.Days == nil || len(r.Days) != 0 {
			t.Errorf("%+v", r)
		}
	}
	k.path = filepath.Join(folder, "none", "client.traffic")
	k.save()
	for _, words := range []string{"a new one begins", "no counters", "cannot save"} {
		if n := strings.Count(log.String(), words); n != 1 {
			t.Errorf("%q is logged %d times: %s", words, n, log)
		}
	}
}
