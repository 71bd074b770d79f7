//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

// pinged is what teredo-client ping --json has written, whose lines have the fields of an answer or of the summary.
type pinged struct {
	Seq       int     `json:"seq"`
	RTT       float64 `json:"rtt_ms"`
	Path      string  `json:"path"`
	Relay     string  `json:"relay"`
	CarriedBy string  `json:"carried_by"`
	Found     float64 `json:"found_ms"`

	Address  string  `json:"address"`
	Mapped   string  `json:"mapped"`
	Sent     *int    `json:"sent"`
	Received int     `json:"received"`
	Mean     float64 `json:"rtt_avg_ms"`
	Cause    string  `json:"cause"`
	Reason   string  `json:"reason"`
}

// pingsTimeout is longer than any number of pings of a test takes.
const pingsTimeout = 2 * time.Minute

func (w *world) pingCommand(host, to string, more ...string) []string {
	return append([]string{program("client"), "ping", to, "--control", w.control(host)}, more...)
}

// pings has our client on a host ping an address, and returns the answers and the summary.
func (w *world) pings(host, to string, more ...string) (answers []pinged, end pinged) {
	w.t.Helper()
	out, err := w.Host(host).Run(pingsTimeout, w.pingCommand(host, to, append(more, "--json")...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, line := range lines {
		var p pinged
		if json.Unmarshal([]byte(line), &p) != nil || (p.Sent != nil) != (i == len(lines)-1) {
			w.t.Fatalf("%v: %s", err, out)
		}
		answers = append(answers, p)
	}
	end, answers = answers[len(answers)-1], answers[:len(answers)-1]
	if len(answers) != end.Received || (err == nil) != (end.Received > 0) {
		w.t.Errorf("%v: %s", err, out)
	}
	return answers, end
}

// wantReason has our client on client1 ping an address in vain.
func (w *world) wantReason(to, cause string, words ...string) {
	w.t.Helper()
	_, end := w.pings("client1", to, "-c", "1")
	if end.Received != 0 || end.Cause != cause {
		w.t.Errorf("ping %s: %+v, want the cause %s", to, end, cause)
	}
	for _, word := range words {
		if !strings.Contains(end.Reason, word) {
			w.t.Errorf("ping %s: reason %q without %q", to, end.Reason, word)
		}
	}
}

// TestPing pings through Miredo's relay and ours, and another client, with the kernel's path and without: the answers tell the path.
func TestPing(t *testing.T) {
	t.Parallel()
	relayAt := fmt.Sprintf("%s:%d", lab.RelayAddr, relayPort)
	for _, relay := range []implementation{ours, miredo} {
		for _, flag := range []string{"--kernel-path=auto", "--kernel-path=off"} {
			t.Run(fmt.Sprintf("%s relay %s", relay, flag), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, lab.PortRestricted)
				w.record()
				w.startServer(ours)
				w.startRelay(relay)
				w.startClient("client1", ours, flag)
				_, client2 := w.startClient("client2", ours, flag)
				for to, path := range map[string]string{lab.NativeAddr: "relay", client2.String(): "direct"} {
					answers, end := w.pings("client1", to, "-c", "2")
					if end.Address != to || *end.Sent != 2 || end.Reason != "" || end.Mean <= 0 || (end.Mapped != "") != (path == "direct") {
						t.Errorf("%+v", end)
					}
					for i, a := range answers {
						if a.Seq != i+1 || a.Path != path || (a.Relay == relayAt) != (path == "relay") || a.RTT <= 0 || a.CarriedBy == "" || (a.Found > 0) != (i == 0) {
							t.Errorf("%+v", a)
						}
					}
				}
				w.wantExit(w.start("client1", w.pingCommand("client1", lab.NativeAddr)...), 0,
					"PING "+lab.NativeAddr, "answer 4: ", "through the relay "+relayAt+", packets carried by the ", "4 sent, 4 answered; round trip")
				w.wantExit(w.start("client1", w.pingCommand("client1", client2.String(), "-c", "1")...), 0, "a Teredo client: mapped ", "directly from ")
				if flag == "--kernel-path=off" {
					return
				}
				if err := lab.Until(openTimeout, "the kernel to carry the flow", func() error {
					w.ping("client1", netip.MustParseAddr(lab.NativeAddr))
					if answers, _ := w.pings("client1", lab.NativeAddr, "-c", "1"); len(answers) != 1 || answers[0].CarriedBy != "kernel" {
						return fmt.Errorf("answers %+v", answers)
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				w.run("native", "nft", refusePings)
				w.wantReason(lab.NativeAddr, "refused", lab.NativeAddr, "administratively prohibited")
			})
		}
	}
}

// refusePings is a firewall that answers pings with an error.
const refusePings = "table ip6 refuse { chain input { type filter hook input priority filter; icmpv6 type echo-request reject with icmpv6 admin-prohibited; }; }"

// TestPingReasons looks at the reasons that programs on the real kernel can have for not answering.
func TestPingReasons(t *testing.T) {
	t.Parallel()
	t.Run("native", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, lab.PortRestricted)
		w.record()
		server := w.startServer(ours)
		w.startRelay(ours)
		w.startClient("client1", ours)

		w.run("native", "nft", refusePings)
		w.wantReason(lab.NativeAddr, "refused", lab.NativeAddr, "administratively prohibited")
		w.wantFailed(lab.NativeAddr, "administratively prohibited")
		w.run("native", "nft", "delete table ip6 refuse")

		w.run("inet", "nft", strings.NewReplacer("input", "forward", "icmpv6 type", "ip6 daddr "+lab.NativeAddr+" icmpv6 type").Replace(refusePings))
		w.wantReason(lab.NativeAddr, "refused", "2001:db8:", "::ff has answered", "administratively prohibited")
		w.run("inet", "nft", "delete table ip6 refuse")

		const silence = "table ip6 silence { chain input { type filter hook input priority filter; icmpv6 type echo-request drop; }; }"
		w.run("native", "nft", silence)
		w.wantReason(lab.NativeAddr, "no-relay", "No relay has brought an answer", lab.ServerAddr)
		w.wantFailed(lab.NativeAddr, "No relay has brought an answer")
		w.run("native", "nft", "delete table ip6 silence")
		w.ping("client1", netip.MustParseAddr(lab.NativeAddr))
		w.run("native", "nft", silence)
		w.wantReason(lab.NativeAddr, "unanswered", "the host is silent", "through the relay "+lab.RelayAddr)

		w.wantReason("2001:0:c000:201:0:1234:f5ff:fffe", "policy", "10.0.0.1")
		own, _ := w.teredoAddr("client1")
		w.wantReason(own.String(), "own-address")
		w.stop(server)
		w.wantReason("2001:db8:6::77", "server-silent", lab.ServerAddr)
	})
	t.Run("clients", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, lab.Symmetric)
		w.record()
		w.startServer(ours)
		w.startClient("client1", ours)
		other, client2 := w.startClient("client2", ours)
		w.wantReason(client2.String(), "nats", "both NATs are symmetric", "figure 1 of RFC 6081")
		w.wantFailed(client2.String(), "both NATs are symmetric")
		w.stop(other)
		w.wantReason(client2.String(), "nats") // no more bubbles may be sent for now
	})
}

// wantFailed checks that the list of peers gives a reason, too.
func (w *world) wantFailed(peer, reason string) {
	w.t.Helper()
	// The search goes on after an ICMPv6 error, as another attempt may get through.
	if err := lab.Until(startTimeout, "the peer to have failed", func() error {
		var peers []struct {
			Address string  `json:"address"`
			State   string  `json:"state"`
			Reason  string  `json:"reason"`
			Since   float64 `json:"since_seconds"`
		}
		answer := w.query("client1", "client", "peers")
		if err := json.Unmarshal([]byte(answer), &peers); err != nil {
			return err
		}
		for _, p := range peers {
			if p.Address == peer && p.State == "failed" && strings.Contains(p.Reason, reason) {
				return nil
			}
		}
		return errors.New(answer)
	}); err != nil {
		w.t.Error(err)
	}
}

// TestPingCommand checks names and misuse.
func TestPingCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.wantExit(w.start("client1", w.pingCommand("client1", lab.NativeAddr)...), 1, "nothing answers on control socket")
	w.startServer(ours)
	w.startRelay(ours)
	w.startClient("client1", ours)
	hosts := filepath.Join(w.Folder(), "hosts")
	if err := os.WriteFile(hosts, []byte(lab.NativeAddr+" six.example\n192.0.2.77 four.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	named := func(name string) *lab.Process {
		return w.start("client1", append([]string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, hosts},
			w.pingCommand("client1", name, "-c", "1")...)...)
	}
	w.wantExit(named("six.example"), 0, "PING six.example ("+lab.NativeAddr+")", "1 sent, 1 answered")
	w.wantExit(named("four.example"), 1, "four.example has an IPv4 address only, 192.0.2.77")
	for _, wrong := range []string{"192.0.2.1", "fe80::1%uplink", "http://six.example/"} {
		w.wantExit(w.start("client1", w.pingCommand("client1", wrong)...), 64)
	}
	w.wantExit(w.start("client1", w.pingCommand("client1", lab.NativeAddr, "-c", "0")...), 64, "give 1 or more")
}
