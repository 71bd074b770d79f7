package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// The table is sorted by any field, searched in words and decoded addresses, and shown in parts.
func TestTable(t *testing.T) {
	const all = 5000
	s := serve(t, Config{TokenFile: write(t, secretWord, 0o600)}, Program{Peers: manyPeers(all)}, nil)
	token := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secretWord) }
	type answer struct {
		All, Matching int
		Clients       struct{ Cone, Restricted int }
		Rows          []struct {
			Address, Mapped, Server string
			Cone                    bool
			Heard                   float64 `json:"heard_seconds_ago"`
			Received                float64 `json:"received_bytes"`
		}
	}
	get := func(query string) (a answer) {
		t.Helper()
		got, body := ask(t, s, "GET", "/api/v1/peers/table?"+query, token)
		if err := json.Unmarshal([]byte(body), &a); got.StatusCode != http.StatusOK || err != nil {
			t.Fatalf("%s: %s %.100s, %v", query, got.Status, body, err)
		}
		return a
	}
	a := get("sort=-received_bytes")
	if a.All != all || a.Matching != all || len(a.Rows) != fewRows || a.Rows[0].Received <= a.Rows[1].Received {
		t.Errorf("%+v", a)
	}
	if a.Clients.Cone != (all+2)/3 || a.Clients.Cone+a.Clients.Restricted != all-1 {
		t.Errorf("clients %+v", a.Clients)
	}
	a = get("sort=heard_seconds_ago&limit=3&offset=2")
	if len(a.Rows) != 3 || int(a.Rows[0].Heard) != 2 || a.Rows[0].Server != "192.0.2.1" || a.Rows[0].Mapped != "203.0.2.7:10002" || a.Rows[0].Cone || !a.Rows[1].Cone {
		t.Errorf("%+v", a)
	}
	for query, want := range map[string]int{
		"match=203.1.2.7:": 1, "match=SEARCHING": 1, "match=direct": all - 1, "match=2001:DB8::1": 1, "match=192.0.2.1": all - 1, "match=%3Cscript%3E": 0,
	} {
		if a := get(query); a.Matching != want || a.All != all || len(a.Rows) != min(want, fewRows) {
			t.Errorf("%s: %d match, %d rows; want %d", query, a.Matching, len(a.Rows), want)
		}
	}
	if a := get("match=direct&offset=4999"); len(a.Rows) != 0 {
		t.Errorf("behind the end: %+v", a)
	}
	if a := get("sort=address&limit=1"); a.Rows[0].Mapped == "" {
		t.Errorf("by address: %+v", a)
	}
	if a := get("sort=-address&limit=1"); a.Rows[0].Address != "2001:db8::1" || a.Rows[0].Mapped != "" {
		t.Errorf("by address, the largest first: %+v", a)
	}
	for _, query := range []string{"sort=nothing", "sort=", "limit=101", "limit=0", "offset=-1", "offset=x"} {
		want := http.StatusBadRequest
		if query == "sort=" {
			want = http.StatusOK
		}
		if got, body := ask(t, s, "GET", "/api/v1/peers/table?"+query, token); got.StatusCode != want {
			t.Errorf("%s: %s %.100s", query, got.Status, body)
		}
	}
	if got, body := ask(t, s, "GET", "/api/v1/peers/table", nil); got.StatusCode != http.StatusUnauthorized || strings.Contains(body, "address") {
		t.Errorf("without a token: %s", got.Status)
	}
}
