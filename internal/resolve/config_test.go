package resolve

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadConfig(t *testing.T) {
	tests := []struct {
		name     string
		content  string
		servers  []string
		timeout  time.Duration
		attempts int
	}{
		{"defaults", "nameserver 192.0.2.53", []string{"192.0.2.53:53"}, 5 * time.Second, 2},
		{"options", "options timeout:2 attempts:3\nnameserver 192.0.2.53", []string{"192.0.2.53:53"}, 2 * time.Second, 3},
		{"limits", "options timeout:900 attempts:900\nnameserver 192.0.2.53", []string{"192.0.2.53:53"}, 30 * time.Second, 5},
		{"IPv6", "nameserver 2001:db8::53\nnameserver fe80::1%eth0", []string{"[2001:db8::53]:53", "[fe80::1%eth0]:53"}, 5 * time.Second, 2},
		{"junk", "nameserver\nnameserver dns.example\n;nameserver 192.0.2.1\n\x00\nnameserver 192.0.2.53 x", []string{"192.0.2.53:53"}, 5 * time.Second, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "resolv.conf")
			write(t, path, tt.content)
			c, err := readConfig(path, "53")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.servers, c.servers); diff != "" {
				t.Errorf("servers (-want +got):\n%s", diff)
			}
			if c.timeout != tt.timeout || c.attempts != tt.attempts {
				t.Errorf("timeout %v, attempts %d, want %v, %d", c.timeout, c.attempts, tt.timeout, tt.attempts)
			}
		})
	}
}

func TestCandidates(t *testing.T) {
	tests := []struct {
		name    string
		options string
		lookup  string
		want    string
	}{
		{"no list", "", "a", "a."},
		{"one label", "search x.example y.example.", "a", "a.x.example. a.y.example. a."},
		{"dotted", "search x.example", "a.b", "a.b. a.b.x.example."},
		{"fully qualified", "search x.example", "a.", "a."},
		{"ndots", "search x.example\noptions ndots:2", "a.b", "a.b.x.example. a.b."},
		{"ndots 0", "search x.example\noptions ndots:0", "a", "a. a.x.example."},
		{"domain", "domain x.example", "a", "a.x.example. a."},
		{"empty list", "search .", "a", "a."},
		{"junk in the list", "search x..example - 1 x.example x.example", "a", "a.-. a.x.example. a."},
		{"too long together", "search " + strings.Repeat("abcdefg.", 31) + "example", "a", "a."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "resolv.conf")
			write(t, path, "nameserver 192.0.2.53\n"+tt.options+"\n")
			c, err := readConfig(path, "53")
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(c.candidates(tt.lookup), " "); got != tt.want {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}
