//go:build linux

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

const webToken = "0123456789abcdef0123456789abcdef"

// TestPrometheus has a real Prometheus at a client scrape all four programs, which are confined: the client and a proxy over loopback,
// the server with a token, the relay with a token over TLS. It finds in them what the lab has done, and promtool finds no fault.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	token := w.file("token", webToken)
	cert, key := w.certificate()
	w.start("server", w.serverCommand("--web", lab.ServerAddr+":9545", "--web-token-file", token)...)
	relay := w.start("relay", w.relayCommand("--web", lab.RelayAddr+":9546", "--web-token-file", token, "--web-cert", cert, "--web-key", key)...)
	w.untilRelays(relay)
	client, _ := w.startClient("client1", ours, "--web", "127.0.0.1:9544")
	w.ping("client1", netip.MustParseAddr(lab.NativeAddr))
	w.startProxy("client1", "--socks", socksAddr, "--web", "127.0.0.1:9547")
	if out, err := w.Host("client1").Run(startTimeout, "curl", "-sS", "-x", "socks5h://"+socksAddr, "http://"+lab.ServerAddr+"/"); err == nil {
		t.Errorf("the proxy fetches by IPv4: %s", out)
	}
	for _, host := range []string{"server", "relay", "client1"} {
		if got, want := w.confined(host), "capabilities, no_new_privs, landlock, seccomp"; got != want {
			t.Errorf("%s is confined by %q, want %q", host, got, want)
		}
	}
	for url, host := range map[string]string{
		"http://127.0.0.1:9544": "client1", "http://127.0.0.1:9547": "proxy", "http://" + lab.ServerAddr + ":9545": "server", "https://" + lab.RelayAddr + ":9546": "relay",
	} {
		curl := func(path string, more ...string) string {
			t.Helper()
			out, err := w.Host("client1").Run(startTimeout, append([]string{"curl", "-sSk", "-w", "\n%{http_code}", url + path}, more...)...)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		bearer := "Authorization: Bearer " + webToken
		w.checkMetrics(host, strings.TrimSuffix(curl("/metrics", "-H", bearer), "\n200"))
		want := map[string]string{"/healthz": "200", "/readyz": "200", "/api/v1/peers": "403", "/api/v1/status": "200"}
		if host != "client1" && host != "proxy" {
			want["/api/v1/peers"], want["/api/v1/status"] = "401", "401"
		}
		if host == "server" { // it knows no peers
			want["/api/v1/peers"] = "404"
		}
		for path, code := range want {
			if err := lab.Until(startTimeout, host+path+" without a token", func() error { // an answer is given for a second
				if got := curl(path); !strings.HasSuffix(got, "\n"+code) {
					return errors.New(got)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
		if got := curl("/metrics", "-H", "Host: evil.example", "-H", bearer); !strings.HasSuffix(got, "\n421") {
			t.Errorf("%s with the name of another: %s", host, got)
		}
	}
	if out, err := w.Host("client1").Run(startTimeout, "curl", "-sSk", "-u", "me:"+webToken, "https://"+lab.RelayAddr+":9546/api/v1/peers?limit=1"); err != nil ||
		!strings.Contains(out, `"state":"trusted"`) {
		t.Errorf("peers of the relay: %s, %v", out, err)
	}
	w.prometheus(token)
	for query, want := range map[string]float64{
		`sum(up)`: 4, `count(teredo_build_info)`: 4,
		`teredo_state{job="teredo-client",state="qualified"}`: 1, `teredo_nat{job="teredo-client",kind="restricted"}`: 1, `teredo_mapped{job="teredo-client"}`: 1,
		`teredo_server_rtt_seconds{job="teredo-client"} > bool 0`: 1, `teredo_sent_packets_total{job="teredo-client"} > bool 0`: 1,
		`teredo_received_packets_total{job="teredo-relay"} > bool 0`: 1, `sum(teredo_peers{job="teredo-relay"})`: 1,
		`teredo_path_sent_packets_total{job="teredo-client",path="relay"} > bool 0`: 1, `teredo_path_received_packets_total{job="teredo-relay",path="direct"} > bool 0`: 1,
		`teredo_server_solicitations_total > bool 0`: 1, `teredo_web_refused_total{job="teredo-server",reason="host"}`: 1,
		`teredo_web_refused_total{job="teredo-server",reason="token"} > bool 0`:               1,
		`sum(teredo_host_traffic_today_bytes{job="teredo-client",protocol!="ipv6"} > bool 0)`: 2,
		`teredo_state{job="teredo-proxy",state="qualified"}`:                                  1, `teredo_host_traffic_today_bytes{job="teredo-proxy",protocol="teredo"} > bool 0`: 1,
		`teredo_proxy_connections_total{job="teredo-proxy",kind="socks"}`: 1, `sum(teredo_proxy_refused_total{job="teredo-proxy"})`: 1,
	} {
		w.untilMetric(query, want)
	}
	// A program that has stopped is seen, and one that is there again.
	w.stop(client)
	w.untilMetric(`up{job="teredo-client"}`, 0)
	w.startClient("client1", ours, "--web", "127.0.0.1:9544")
	w.untilMetric(`changes(teredo_start_time_seconds{job="teredo-client"}[1h])`, 1)
}

// checkMetrics has promtool look for faults in the metrics of a program.
func (w *world) checkMetrics(of, metrics string) {
	w.t.Helper()
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(metrics)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 || !strings.Contains(metrics, "teredo_build_info") {
		w.t.Errorf("%s: promtool says %v: %s: %.500s", of, err, out, metrics)
	}
}

// TestAlertRules has promtool check the rules, and run their cases.
func TestAlertRules(t *testing.T) {
	lab.Need(t)
	for _, args := range [][]string{{"check", "rules", "teredo.rules.yml"}, {"test", "rules", "teredo.test.yml"}} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = "../contrib/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "SUCCESS") {
			t.Errorf("promtool %v: %v: %s", args, err, out)
		}
	}
}

// prometheus starts Prometheus on client1, with our rules.
func (w *world) prometheus(token string) {
	w.t.Helper()
	rules, err := filepath.Abs("../contrib/prometheus/teredo.rules.yml")
	if err != nil {
		w.t.Fatal(err)
	}
	config := w.file("prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: teredo-client
    static_configs: [{targets: ["127.0.0.1:9544"]}]
  - job_name: teredo-proxy
    static_configs: [{targets: ["127.0.0.1:9547"]}]
  - job_name: teredo-server
    authorization: {credentials_file: %[2]q}
    static_configs: [{targets: ["%[3]s:9545"]}]
  - job_name: teredo-relay
    scheme: https
    tls_config: {insecure_skip_verify: true}
    basic_auth: {username: prometheus, password_file: %[2]q}
    static_configs: [{targets: ["%[4]s:9546"]}]
`, rules, token, lab.ServerAddr, lab.RelayAddr))
	w.start("client1", "prometheus", "--config.file", config, "--storage.tsdb.path", filepath.Join(w.Folder(), "tsdb"), "--web.listen-address", "127.0.0.1:9090")
}

// untilMetric waits until Prometheus has this value for a question.
func (w *world) untilMetric(query string, want float64) {
	w.t.Helper()
	err := lab.Until(startTimeout, query, func() error {
		out, err := w.Host("client1").Run(startTimeout, "curl", "-sS", "http://127.0.0.1:9090/api/v1/query?query="+url.QueryEscape(query))
		if err != nil {
			return err
		}
		var answer struct {
			Data struct {
				Result []struct {
					Value [2]any `json:"value"`
				} `json:"result"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			return err
		}
		if r := answer.Data.Result; len(r) != 1 || r[0].Value[1] != fmt.Sprint(want) {
			return fmt.Errorf("the answer is %s, want %v", out, want)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// file writes a file into the folder of the lab.
func (w *world) file(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.Folder(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// certificate makes a certificate and its key.
func (w *world) certificate() (cert, key string) {
	w.t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	keyDER, keyErr := x509.MarshalPKCS8PrivateKey(secret)
	if err := errors.Join(err, keyErr); err != nil {
		w.t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return w.file("cert.pem", block("CERTIFICATE", der)), w.file("key.pem", block("PRIVATE KEY", keyDER))
}
