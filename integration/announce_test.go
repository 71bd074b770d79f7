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

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	nameServer = "198.51.101.53"
	laptopName = "laptop.home.example"
)

// startNameServer starts BIND on a host of its own, with a zone in which the key that it returns may update the AAAA record of the
// laptop alone.
func (w *world) startNameServer() (key string) {
	w.t.Helper()
	host, err := w.AddHost("inet", "dns", "198.51.101.254/24", nameServer+"/24")
	if err != nil {
		w.t.Fatal(err)
	}
	folder := w.t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
		return path
	}
	text, err := host.Run(startTimeout, "tsig-keygen", "laptop")
	if err != nil {
		w.t.Fatal(err)
	}
	key = write("key", text)
	zone := write("zone", `$TTL 300
@ SOA ns.home.example. admin.home.example. 1 3600 600 86400 60
@ NS ns.home.example.
ns A `+nameServer+"\n")
	config := write("named.conf", fmt.Sprintf(`include %q;
options { directory %q; pid-file none; listen-on { any; }; listen-on-v6 { none; }; recursion yes; dnssec-validation no; };
controls { };
zone "home.example" { type primary; file %q; update-policy { grant laptop name %s AAAA; }; };
`, key, folder, zone, laptopName))
	named := w.start("dns", "named", "-g", "-c", config)
	w.until(named, startTimeout, "the name server", func() error {
		if got := w.records("ns.home.example", "A"); got != nameServer {
			return fmt.Errorf("it answers %q", got)
		}
		return nil
	})
	return key
}

// records asks the name server for records of a name, each in a line.
func (w *world) records(name, kind string) string {
	out, err := w.Host("dns").Run(startTimeout, "dig", "+short", "+tries=1", "+time=5", "@"+nameServer, name, kind)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out)
}

// untilRecord waits until the laptop's record has the address; zero: until there is none.
func (w *world) untilRecord(want netip.Addr) {
	w.t.Helper()
	text := ""
	if want.IsValid() {
		text = want.String()
	}
	if err := lab.Until(startTimeout, "the record", func() error {
		if got := w.records(laptopName, "AAAA"); got != text {
			return fmt.Errorf("it is %q, want %q", got, text)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// announcing is the command line of a client that asks our name server, and has the flags.
func (w *world) announcing(flags ...string) []string {
	conf := filepath.Join(w.Folder(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver "+nameServer+"\n"), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return append([]string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, conf},
		w.clientCommand("client1", flags...)...)
}

// dnsStatus is what a client tells of its record.
func (w *world) dnsStatus() (s struct {
	DNS struct {
		Name      string
		Address   netip.Addr
		LastError string `json:"last_error"`
	}
	Confined string
}, err error) {
	out := w.query("client1", "client", "status")
	if json.Unmarshal([]byte(out), &s) != nil {
		err = errors.New(out)
	}
	return s, err
}

// A client keeps the record of its name at BIND and has a command run, while it is confined, and takes the record away in the end. It
// finds zone and name server by itself.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	server := w.startServer(ours)
	key := w.startNameServer()
	told := filepath.Join(w.Folder(), "told")
	p := w.start("client1", w.announcing("--dns-update", laptopName, "--dns-key", key, "--refresh-interval", "5s",
		"--on-change", `echo "$TEREDO_INTERFACE $TEREDO_STATE $TEREDO_ADDRESS" >>`+told)...)
	w.until(p, startTimeout, "the client to be qualified", func() error {
		s, err := w.status("client1")
		if err == nil && s.State != "qualified" {
			err = errors.New(s.State)
		}
		return err
	})
	addr, _ := w.teredoAddr("client1")
	w.untilRecord(addr)
	if err := lab.Until(startTimeout, "the status", func() error {
		if s, err := w.dnsStatus(); err != nil || s.DNS.Name != laptopName || s.DNS.Address != addr || s.DNS.LastError != "" ||
			s.Confined != "capabilities, no_new_privs, landlock, seccomp" {
			return fmt.Errorf("it is %+v, %v", s, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	// Without its server the client loses its address, and has none for others either.
	w.stop(server)
	w.untilRecord(netip.Addr{})
	w.startServer(ours)
	w.untilRecord(addr)
	w.stop(p)
	w.untilRecord(netip.Addr{})
	want := fmt.Sprintf("%s qualified %v\n%[1]s offline \n%[1]s qualified %[2]v\n", tun, addr)
	if got, err := os.ReadFile(told); err != nil || !strings.HasPrefix(string(got), want) || !strings.HasSuffix(string(got), tun+" stopped \n") {
		t.Errorf("the command was told %q, %v; want %q, and that the client has stopped", got, err, want)
	}
}

// A name server that knows another secret refuses, and the client says so and goes on. SIGHUP has it read the right secret from a file that
// has taken the place of the other one, though it is confined.
func TestAnnouncementRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	key := w.startNameServer()
	right := key + ".right"
	text, err := w.Host("dns").Run(startTimeout, "tsig-keygen", "laptop") // another secret
	if err := errors.Join(err, os.Rename(key, right), os.WriteFile(key, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	p := w.start("client1", w.announcing("--dns-update", laptopName, "--dns-key", key)...)
	w.until(p, startTimeout, "the refusal", func() error {
		if s, err := w.dnsStatus(); err != nil || !strings.Contains(s.DNS.LastError, "BADSIG") || s.DNS.Address.IsValid() {
			return fmt.Errorf("status %+v, %v", s, err)
		}
		return nil
	})
	w.untilState("client1", "qualified")
	if got, want := w.confined("client1"), "capabilities, no_new_privs, landlock, seccomp"; got != want {
		t.Errorf("the client is confined by %q, want %q", got, want)
	}
	if err := os.Rename(right, key); err != nil {
		t.Fatal(err)
	}
	w.hangups(p, "updating the name with the key in the file")
	addr, _ := w.teredoAddr("client1")
	w.untilRecord(addr)
}
