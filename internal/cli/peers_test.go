package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Peers are sorted, cut and decoded as the flags say, in text and JSON.
func TestArrangePeers(t *testing.T) {
	socket := answering(t, map[string]string{"peers": `[
		{"address": "2001:0:102:304:2c05:f227:3fff:fdfe", "sent_packets": 7, "received_packets": 1, "sent_bytes": 500, "received_bytes": 1, "since_seconds": 40},
		{"address": "2001:db8::1", "sent_packets": 18446744073709551615, "sent_bytes": 100, "since_seconds": 0},
		{"address": "2001:db8::2", "sent_packets": 2, "received_packets": 3, "received_bytes": 600, "since_seconds": 300}
	]`})
	for args, want := range map[string]string{
		"": `
ADDRESS                             SENT PACKETS
2001:0:102:304:2c05:f227:3fff:fdfe  7
2001:db8::1                         18446744073709551615
2001:db8::2                         2
`,
		"--sort bytes --limit 2": `
ADDRESS                             SENT PACKETS
2001:db8::2                         2
2001:0:102:304:2c05:f227:3fff:fdfe  7
`,
		"--sort packets --limit 2": `
ADDRESS                             SENT PACKETS
2001:db8::1                         18446744073709551615
2001:0:102:304:2c05:f227:3fff:fdfe  7
`,
		"--sort age": `
ADDRESS                             SENT PACKETS
2001:db8::2                         2
2001:0:102:304:2c05:f227:3fff:fdfe  7
2001:db8::1                         18446744073709551615
`,
		"--limit 9 --decode": `
ADDRESS                             MAPPED          SERVER   SENT PACKETS
2001:0:102:304:2c05:f227:3fff:fdfe  192.0.2.1:3544  1.2.3.4  7
2001:db8::1                         -               -        18446744073709551615
2001:db8::2                         -               -        2
`,
		"--limit 1 --decode --json": `
[
  {
    "address": "2001:0:102:304:2c05:f227:3fff:fdfe",
    "sent_packets": 7,
    "received_packets": 1,
    "sent_bytes": 500,
    "received_bytes": 1,
    "since_seconds": 40,
    "mapped": "192.0.2.1:3544",
    "server": "1.2.3.4"
  }
]
`,
	} {
		code, stdout, stderr := call(t.Context(), append([]string{"peers", "--control", socket}, strings.Fields(args)...)...)
		if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), stdout); diff != "" || code != 0 {
			t.Errorf("%s: exit code %d, %s (-want +got)\n%s", args, code, stderr, diff)
		}
	}
	if code, _, stderr := call(t.Context(), "peers", "--sort", "name"); code != exitUsage || !strings.Contains(stderr, `"name" is not an order: choose bytes, packets or age`) {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestNoPeers(t *testing.T) {
	socket := answering(t, map[string]string{"peers": `[]`})
	for args, want := range map[string]string{"": "none\n", "--decode --sort bytes --limit 3": "none\n", "--json": "[]\n"} {
		if code, stdout, _ := call(t.Context(), append([]string{"peers", "--control", socket}, strings.Fields(args)...)...); code != 0 || stdout != want {
			t.Errorf("%s: exit code %d, %q", args, code, stdout)
		}
	}
}
