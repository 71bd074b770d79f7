package netcfg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// kept runs a keeper whose restorations have the results that next says. It returns when they were, in whole seconds.
func kept(t *testing.T, log *bytes.Buffer, long time.Duration, next func(k *Keeper) ([]string, error)) (at []int) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		var k *Keeper
		k = NewKeeper(slog.New(slog.NewTextHandler(log, nil)), func(context.Context) ([]string, error) {
			at = append(at, int(time.Since(start)/time.Second))
			return next(k)
		})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := k.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		k.Disturbed()
		time.Sleep(long)
		cancel()
		<-ended
	})
	return at
}

// Who takes something away each time is answered more and more rarely, and each time it is said what was restored.
func TestKeeperBacksOff(t *testing.T) {
	var log bytes.Buffer
	at := kept(t, &log, 1000*time.Second, func(k *Keeper) ([]string, error) {
		k.Disturbed()
		return []string{"the state up", "address fe80::1"}, nil
	})
	if got := fmt.Sprint(at); got != "[0 1 3 7 15 31 63 127 255 511 811]" {
		t.Errorf("restored after %s s", got)
	}
	if n := strings.Count(log.String(), `restored="the state up, address fe80::1"`); n != len(at) {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}

// Somebody who does it now and then finds it restored at once each time.
func TestKeeperRestoresAtOnce(t *testing.T) {
	var log bytes.Buffer
	at := kept(t, &log, 9*time.Second, func(k *Keeper) ([]string, error) {
		time.AfterFunc(2*time.Second, k.Disturbed)
		return []string{"the state up"}, nil
	})
	if got := fmt.Sprint(at); got != "[0 2 4 6 8]" {
		t.Errorf("restored after %s s", got)
	}
}

// Our own changes lead to a look, and to nothing else.
func TestKeeperFindsNothing(t *testing.T) {
	var log bytes.Buffer
	at := kept(t, &log, time.Hour, func(*Keeper) ([]string, error) { return nil, nil })
	if len(at) != 1 || log.Len() > 0 {
		t.Errorf("looked after %v s:\n%s", at, log.String())
	}
}

// What cannot be restored is tried again without a further event.
func TestKeeperTriesAgain(t *testing.T) {
	var log bytes.Buffer
	at := kept(t, &log, 20*time.Second, func(*Keeper) ([]string, error) { return []string{"the state up"}, errors.New("no right to") })
	if got := fmt.Sprint(at); got != "[0 1 3 7 15]" || strings.Count(log.String(), "no right to") != 5 {
		t.Errorf("tried after %s s:\n%s", got, log.String())
	}
}

// A program that has ended has no interface to restore.
func TestKeeperEnds(t *testing.T) {
	var log bytes.Buffer
	at := kept(t, &log, time.Minute, func(*Keeper) ([]string, error) { return nil, context.Canceled })
	if len(at) != 1 || log.Len() > 0 {
		t.Errorf("tried after %v s:\n%s", at, log.String())
	}
}
