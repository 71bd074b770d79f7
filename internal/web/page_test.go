package web

import (
	"context"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The page's files are there for everybody, compressed for those that can read it, and name nothing elsewhere.
func TestParts(t *testing.T) {
	s := serve(t, Config{TokenFile: write(t, secretWord, 0o600)}, Program{}, nil)
	elsewhere := regexp.MustCompile(`(?:src|href)="?(?:https?:)?//|@import|url\(["']?(?:https?:)?//|fetch\(["'\x60]http`)
	sinks := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function| style="| on[a-z]+="`)
	err := fs.WalkDir(parts, "page", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		answer, body := ask(t, s, "GET", "/"+path, nil)
		if answer.StatusCode != http.StatusOK || len(body) == 0 || answer.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %s %v", path, answer.Status, answer.Header)
		}
		if elsewhere.MatchString(body) {
			t.Errorf("%s names what is elsewhere: %s", path, elsewhere.FindString(body))
		}
		if !strings.Contains(path, "/vendor/") && sinks.MatchString(body) {
			t.Errorf("%s could run what others have written: %s", path, sinks.FindString(body))
		}
		packed, short := ask(t, s, "GET", "/"+path, func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") })
		if packed.Header.Get("Content-Encoding") != "gzip" || len(body) > 1000 && len(short) > len(body)*3/4 {
			t.Errorf("%s: %d bytes, compressed %d", path, len(body), len(short))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/page/", "/page/nothing", "/page/vendor", "/page/../web.go"} {
		if answer, _ := ask(t, s, "GET", path, nil); answer.StatusCode == http.StatusOK {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
}

// The log is told from where the caller has got to, for those with the token.
func TestLog(t *testing.T) {
	lines := []string{"one", "<two>", "three"}
	s := serve(t, Config{TokenFile: write(t, secretWord, 0o600)}, Program{Log: func(after uint64) ([]string, uint64) { return lines[min(after, 3):], 3 }}, nil)
	token := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secretWord) }
	for query, want := range map[string]string{
		"":         `{"all":3,"lines":["one","\u003ctwo\u003e","three"]}`,
		"?after=2": `{"all":3,"lines":["three"]}`,
		"?after=9": `{"all":3,"lines":[]}`,
	} {
		if _, body := ask(t, s, "GET", "/api/v1/log"+query, token); body != want {
			t.Errorf("%q: %s, want %s", query, body, want)
		}
	}
	if answer, body := ask(t, s, "GET", "/api/v1/log", nil); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %s %s", answer.Status, body)
	}
	open := serve(t, Config{}, Program{Log: func(uint64) ([]string, uint64) { return lines, 3 }, Traffic: func(context.Context) (any, error) { return 1, nil }}, nil)
	if answer, body := ask(t, open, "GET", "/api/v1/log", nil); answer.StatusCode != http.StatusForbidden {
		t.Errorf("a program without a token: %s %s", answer.Status, body)
	}
	if _, body := ask(t, open, "GET", "/api/v1/traffic", nil); body != "1" {
		t.Errorf("traffic %s", body)
	}
}
