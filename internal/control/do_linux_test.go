package control

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// What is done has the argument as it was given, and takes longer than a question may.
func TestDo(t *testing.T) {
	path, _ := serve(t, questions{
		"ping":   {Do: func(_ context.Context, argument string) (any, error) { return argument, nil }},
		"broken": {Do: func(context.Context, string) (any, error) { return nil, errors.New("not today") }},
		"slow": {Do: func(ctx context.Context, _ string) (any, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(2500 * time.Millisecond): // a question has to be read within 2 s
				return "done", nil
			}
		}},
		"status": {Answer: func(context.Context) (any, error) { return 1, nil }},
	})
	for _, argument := range []string{"", "2001:db8::1", "a&b=c d%20+é\n?#/"} {
		var got string
		if err := Do(t.Context(), path, "ping", argument, &got); err != nil || got != argument {
			t.Errorf("%q: %q, %v", argument, got, err)
		}
	}
	var got string
	if err := Do(t.Context(), path, "slow", "", &got); err != nil || got != "done" {
		t.Errorf("%q, %v", got, err)
	}
	for what, message := range map[string]string{"broken": "not today", "nothing": "has no nothing to show", "status": "Method Not Allowed"} {
		if err := Do(t.Context(), path, what, "", &got); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("Do(%s): %v; want %q in it", what, err, message)
		}
	}
	if err := Do(t.Context(), path, "ping", strings.Repeat("x", maxArgument+1), &got); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long argument: %v", err)
	}
	if err := Get(t.Context(), path, "ping", &got); err == nil || !strings.Contains(err.Error(), "Method Not Allowed") {
		t.Errorf("Get(ping): %v", err)
	}
}

// When the caller has gone, nothing more needs to be done.
func TestDoForNobody(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	path, _ := serve(t, questions{"ping": {Do: func(ctx context.Context, _ string) (any, error) {
		close(begun)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if err := Do(ctx, path, "ping", "", new(string)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-ended
}
