package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// Many who ask at once share one answer, and the program is asked no more often than ten times a second.
func TestManyShareAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		asked, at := 0, time.Time{}
		a := newAnswers(ctx, func(context.Context) (any, error) {
			if gap := time.Since(at); gap < pause {
				t.Errorf("asked again after %v", gap)
			}
			asked++
			at = time.Now()
			time.Sleep(30 * time.Millisecond)
			at = time.Now()
			return asked, nil
		})
		const readers, time5 = 31, 5 * time.Second
		start := time.Now()
		var all sync.WaitGroup
		for range readers {
			all.Go(func() {
				for time.Since(start) < time5 {
					began := asked
					n := a.join()
					<-n.done
					var got int
					if err := json.Unmarshal(n.body, &got); err != nil || got <= began {
						t.Errorf("answer %d, %v, to who asked after %d had been begun", got, err, began)
					}
					n.waiting.Done()
				}
			})
		}
		all.Wait()
		cancel()
		a.wait()
		if most := int(time5/pause) + 1; asked > most || asked < most/2 {
			t.Errorf("the program was asked %d times by %d readers in %v; want %d at most", asked, readers, time5, most)
		}
	})
}

// The next answer is not made while somebody has not got the last one, so there is one in memory at most.
func TestOneAnswerAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		a := newAnswers(ctx, func(context.Context) (any, error) { asked++; return asked, nil })
		slow := a.join()
		<-slow.done
		next := a.join()
		time.Sleep(time.Hour)
		if asked != 1 {
			t.Errorf("%d answers were made while the first is being sent", asked)
		}
		slow.waiting.Done()
		<-next.done
		if asked != 2 {
			t.Errorf("%d answers", asked)
		}
		next.waiting.Done()
		cancel()
		a.wait()
	})
}

// peerLike is as large as what is told of a peer.
type peerLike struct {
	Address, Endpoint, State, Path string
	Sent, Received                 uint64
}

// 31 local users' programs that ask all the time for the 20,000 peers of a relay cost no more memory than one does.
func TestManyAskForPeers(t *testing.T) {
	peers := make([]peerLike, 20_000)
	for i := range peers {
		peers[i] = peerLike{"2001:0:cb00:7178:0:efff:3fff:fdfe", "203.0.113.120:40000", "trusted", "direct", 1 << 40, 1 << 40}
	}
	one, err := json.Marshal(peers)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	path, _ := serve(t, questions{"peers": {Answer: func(context.Context) (any, error) { asked.Add(1); return peers, nil }}})
	const readers, rounds = 31, 8
	var all sync.WaitGroup
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range readers {
		all.Go(func() {
			for range rounds {
				conn, err := net.Dial("unix", path)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = io.WriteString(conn, "GET /peers HTTP/1.0\r\n\r\n")
				n, err2 := io.Copy(io.Discard, conn)
				if conn.Close(); errors.Join(err, err2) != nil || n < int64(len(one)) {
					t.Errorf("got %d bytes of %d, %v, %v", n, len(one), err, err2)
				}
			}
		})
	}
	all.Wait()
	runtime.ReadMemStats(&after)
	answers, allocated := asked.Load(), int64(after.TotalAlloc-before.TotalAlloc)
	t.Logf("%d requests, %d answers of %.1f MB, %.1f MB allocated", readers*rounds, answers, float64(len(one))/1e6, float64(allocated)/1e6)
	if answers > readers*rounds/4 {
		t.Errorf("%d answers were made for %d requests", answers, readers*rounds)
	}
	// Each answer is encoded once, in a buffer that grows.
	if most := answers*int64(len(one))*6 + readers*rounds*200_000; allocated > most {
		t.Errorf("%d bytes were allocated; want %d at most", allocated, most)
	}
}

// A question with a circle is answered to root, to the user of the program and to the group, and to nobody else, who is told; the
// state is for everybody (SEC-CFG-01).
func TestCircle(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("asks as other users")
	}
	const stranger, group = 65533, 54321
	circle, err := NewCircle("54321")
	if err != nil {
		t.Fatal(err)
	}
	path, _ := serve(t, questions{
		"status": {Answer: func(context.Context) (any, error) { return 1, nil }},
		"peers":  {Answer: func(context.Context) (any, error) { return 2, nil }, Circle: circle},
		"ping":   {Do: func(context.Context, string) (any, error) { return 3, nil }, Circle: circle},
	})
	for folder := path; folder != "/tmp" && folder != "/"; { // everybody may get there
		folder = filepath.Dir(folder)
		if err := os.Chmod(folder, 0o1777); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		uid    int
		groups []uint32
		may    bool
	}{
		{"root", 0, nil, true},
		{"a stranger", stranger, nil, false},
		{"a stranger in other groups", stranger, []uint32{1, 2}, false},
		{"a member of the group", stranger, []uint32{1, group}, true},
	} {
		for what, may := range map[string]bool{"status": true, "peers": tt.may, "ping": tt.may} {
			var answer []byte
			onOwnThread(func() {
				// The calls of package syscall change one thread only when they are made so.
				if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(tt.groups)), pointer(tt.groups), 0); errno != 0 {
					t.Fatal(errno)
				}
				if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(tt.uid), uintptr(tt.uid), uintptr(tt.uid)); errno != 0 {
					t.Fatal(errno)
				}
				method := map[bool]string{true: "POST", false: "GET"}[what == "ping"]
				answer, err = rawAsk(path, method, what)
			})
			if err != nil {
				t.Fatalf("%s, %s: %v", tt.name, what, err)
			}
			if got := strings.Contains(string(answer), " 200 OK"); got != may {
				t.Errorf("%s asks for %s: %s", tt.name, what, answer)
			}
			if !may && !strings.Contains(string(answer), "those who may ask are root, and the group 54321") {
				t.Errorf("%s asks for %s, and is not told who may: %s", tt.name, what, answer)
			}
		}
	}
	if _, err := NewCircle("no-such-group-here"); err == nil || !strings.Contains(err.Error(), "groupadd") {
		t.Errorf("a group that is not there: %v", err)
	}
}

// The socket has its mode from the beginning, whatever the mask of the process is, and the mask is as it was.
func TestModeFromTheBeginning(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	path := filepath.Join(t.TempDir(), "x.sock")
	changes := watchModes(t, filepath.Dir(path))
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if n := changes(); n != 0 {
		t.Errorf("the mode of a file was changed %d times after it had been made", n)
	}
	if mask := unix.Umask(0o077); mask != 0o077 {
		t.Errorf("the mask is %o", mask)
	}
}
