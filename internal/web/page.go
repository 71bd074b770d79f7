package web

import (
	"compress/gzip"
	"embed"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// parts are the files of the page. It holds nothing that somebody without the token may not know.
//
//go:embed page
var parts embed.FS

// kinds are the content types of its files.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
	"": "text/plain; charset=utf-8",
}

// servePage sends the page. Who has no token gets it, too, as it asks for the token; and is told so by the code.
func (s *Site) servePage(w http.ResponseWriter, r *http.Request) {
	code := http.StatusOK
	if s.token != nil && !s.token.in(r) {
		s.refused[wrongToken].Add(1)
		w.Header().Set("WWW-Authenticate", `Bearer realm="teredo"`) // has a browser show the page, where Basic would have it ask by itself
		code = http.StatusUnauthorized
	}
	sendPart(w, r, code, "index.html")
}

func servePart(w http.ResponseWriter, r *http.Request) {
	sendPart(w, r, http.StatusOK, r.PathValue("file"))
}

func sendPart(w http.ResponseWriter, r *http.Request, code int, name string) {
	body, err := parts.ReadFile("page/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	sendPacked(w, r, code, kinds[path.Ext(name)], body)
}

// sendJSON sends an answer in JSON form.
func sendJSON(w http.ResponseWriter, r *http.Request, answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		fail(w, err)
		return
	}
	sendPacked(w, r, http.StatusOK, "application/json", text)
}

// packers compress answers. One takes much memory, so they are used again.
var packers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// sendPacked sends an answer, compressed if the caller knows how to read that.
func sendPacked(w http.ResponseWriter, r *http.Request, code int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Vary", "Accept-Encoding")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(code)
		_, _ = w.Write(body) // a caller that has gone gets nothing, and needs nothing
		return
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(code)
	z := packers.Get().(*gzip.Writer)
	defer packers.Put(z)
	z.Reset(w)
	_, _ = z.Write(body)
	_ = z.Close()
	z.Reset(io.Discard) // it would keep the connection
}
