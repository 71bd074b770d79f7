package probe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/probe"
)

// update writes what the tests get to testdata, where else they find what they want.
var update = flag.Bool("update", false, "write testdata anew")

// probeFrom probes servers from a host of a simulated internet. Options change the configuration.
func probeFrom(t *testing.T, in *natsim.Internet, h *natsim.Host, servers []probe.Server, options ...func(*probe.Config)) probe.Report {
	t.Helper()
	r, err := tryFrom(t, context.Background(), in, h, servers, options...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryFrom(t *testing.T, ctx context.Context, in *natsim.Internet, h *natsim.Host, servers []probe.Server,
	options ...func(*probe.Config)) (probe.Report, error) {
	t.Helper()
	random := in.Rand()
	cfg := probe.Config{
		Servers:  servers,
		Filter:   natsim.Filter(),
		Open:     func() (probe.Conn, error) { return h.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 0)), nil },
		Local:    func(netip.Addr) netip.Addr { return h.Addr() },
		Progress: func(what string) { t.Logf("%v: waiting for %s", in.Now(), what) },
		Rand: func(b []byte) {
			for i := range b {
				b[i] = byte(random.Uint32())
			}
		},
	}
	for _, o := range options {
		o(&cfg)
	}
	return probe.Run(ctx, cfg)
}

// named is a server of the simulated internet, as a person names it. Its second address is left to be found.
func named(name string, s *natsim.Server) probe.Server {
	return probe.Server{Name: name, Primary: s.Primary}
}

// checkGolden compares a report, in both forms, with files in testdata.
func checkGolden(t *testing.T, name string, r probe.Report) {
	t.Helper()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var words bytes.Buffer
	if err := r.Print(&words); err != nil {
		t.Fatal(err)
	}
	for file, got := range map[string][]byte{name + ".json": append(text, '\n'), name + ".txt": words.Bytes()} {
		path := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}
