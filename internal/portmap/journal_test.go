package portmap

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func sameRecords(a, b []record) string {
	return cmp.Diff(a, b, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b record) bool { return a == b }))
}

func testRecord(port uint16) record {
	return record{
		Protocol: "pcp", Gateway: netip.MustParseAddr("192.168.1.1"), Nonce: "00",
		Internal: netip.AddrPortFrom(netip.MustParseAddr("192.168.1.2"), port),
	}
}

// X-UPNP-01, ST-X-02: what one run notes, the next one reads.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "client.portmap")
	l, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint16(mostRecords + 2) {
		if err := l.add(testRecord(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.add(testRecord(3)); err != nil { // becomes the latest
		t.Fatal(err)
	}
	want := []record{testRecord(2), testRecord(4), testRecord(5), testRecord(6), testRecord(7), testRecord(8), testRecord(9), testRecord(3)}
	again, err := openJournal(path)
	if diff := sameRecords(want, again.records); err != nil || diff != "" {
		t.Errorf("error %v, records (-want +got):\n%s", err, diff)
	}
	for _, r := range want {
		if err := again.drop(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := again.drop(testRecord(3)); err != nil {
		t.Errorf("dropped twice: %v", err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 0 {
		t.Errorf("left in the folder: %v, %v", files, err)
	}
}

func TestJournalUnreadable(t *testing.T) {
	for name, text := range map[string]string{
		"junk": "x", "cut": `[{"protocol":"upnp"`, "other form": `{"protocol":"upnp"}`, "no address": `[{"gateway":"x"}]`, "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "client.portmap")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := openJournal(path)
			if err == nil || len(l.records) != 0 {
				t.Errorf("error %v, records %v", err, l.records)
			}
			if err := l.add(testRecord(1)); err != nil {
				t.Error(err)
			}
			if l, err := openJournal(path); err != nil || len(l.records) != 1 {
				t.Errorf("after that: error %v, records %v", err, l.records)
			}
		})
	}
}

// A folder that is not there is an error each time, and no more.
func TestJournalUnwritable(t *testing.T) {
	l, err := openJournal(filepath.Join(t.TempDir(), "missing", "client.portmap"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.add(testRecord(1)); err == nil {
		t.Error("no error")
	}
	if len(l.records) != 1 {
		t.Errorf("records %v", l.records)
	}
}
