package secret

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	const text = `# secrets of example.net

laptop-7  hex:6f1d0a55c3f04ab1b6d1e9d7a2c84e30
	office	base64:bx0KVcPwSrG20enXoshOMA== expires=2027-01-31   # the printer too
lab correct-horse#battery
  # indented comment
Ünïcode plain`
	key := []byte{0x6f, 0x1d, 0x0a, 0x55, 0xc3, 0xf0, 0x4a, 0xb1, 0xb6, 0xd1, 0xe9, 0xd7, 0xa2, 0xc8, 0x4e, 0x30}
	want := []Client{
		{ID: "laptop-7", Secret: key, Line: 3},
		{ID: "office", Secret: key, Expires: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC), Line: 4},
		{ID: "lab", Secret: []byte("correct-horse#battery"), Line: 5},
		{ID: "Ünïcode", Secret: []byte("plain"), Line: 7},
	}
	for name, text := range map[string]string{"Unix": text, "Windows": strings.ReplaceAll(text, "\n", "\r\n")} {
		got, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const hidden = "s3cr3t-of-somebody"
	tests := []struct{ name, text, want string }{
		{"empty", "", "the file has no client: write a line with identifier and secret for each"},
		{"comments alone", "# nobody\n\n", "the file has no client: write a line with identifier and secret for each"},
		{"no secret", "a x\nlaptop\n", `line 2: client "laptop" has no secret`},
		{"secret that is a comment", "laptop #" + hidden, `line 1: client "laptop" has no secret`},
		{"hex", "\n\nlaptop hex:" + hidden, `line 3: the secret of client "laptop" is not an even number of hexadecimal digits`},
		{"odd hex", "laptop hex:abc", `line 1: the secret of client "laptop" is not an even number of hexadecimal digits`},
		{"base64", "laptop base64:" + hidden, `line 1: the secret of client "laptop" is not base64 with padding`},
		{"empty hex", "laptop hex:", `line 1: the secret of client "laptop" is empty`},
		{"secret too long", "laptop " + strings.Repeat("x", 1025), `line 1: the secret of client "laptop" has 1025 bytes; the maximum is 1024`},
		{"W-AUTH-01: identifier too long", strings.Repeat("x", 256) + " " + hidden, "line 1: the client identifier has 256 bytes; the maximum is 255"},
		{"three words", "laptop my " + hidden, `line 1: only expires=DATE may follow the secret of client "laptop"`},
		{"no date", "laptop " + hidden + " expires=tomorrow", `line 1: "tomorrow" is not a date; write expires=2027-01-31`},
		{"no such day", "laptop " + hidden + " expires=2027-02-30", `line 1: "2027-02-30" is not a date; write expires=2027-01-31`},
		{"twice", "laptop x\n#\nlaptop " + hidden, `line 3: client "laptop" is already in line 1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clients, err := Parse([]byte(tt.text))
			if err == nil || err.Error() != tt.want || clients != nil {
				t.Fatalf("Parse = %v, error %v, want %q", clients, err, tt.want)
			}
			if strings.Contains(err.Error(), hidden) {
				t.Errorf("error shows the secret: %v", err)
			}
		})
	}
}

// C-SEC-06
func TestWeak(t *testing.T) {
	for bytes, want := range map[int]bool{1: true, 15: true, 16: false, 20: false} {
		if got := (Client{Secret: make([]byte, bytes)}).Weak(); got != want {
			t.Errorf("%d bytes: weak %t", bytes, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a b\n# c\nd hex:00 expires=2027-01-31 # e\n"))
	f.Add([]byte("a base64:AA== expires="))
	f.Fuzz(func(t *testing.T, text []byte) {
		clients, err := Parse(text)
		if (err == nil) == (len(clients) == 0) {
			t.Fatalf("%d clients, error %v", len(clients), err)
		}
		for _, c := range clients {
			if c.ID == "" || len(c.ID) > 255 || len(c.Secret) == 0 || len(c.Secret) > 1024 || c.Line == 0 {
				t.Errorf("client %+v", c)
			}
		}
	})
}
