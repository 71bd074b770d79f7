package confine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// task is the environment variable that makes this test program one that confines itself: a folder to work in.
const task = "TEREDO_TEST_CONFINE"

func TestMain(m *testing.M) {
	if folder := os.Getenv(task); folder != "" {
		report(folder)
		return
	}
	os.Exit(m.Run())
}

// findings are what a confined program could do.
type findings struct {
	Result string
	Tried  map[string]string // the error of each attempt, "" for none
	Status string            // of all threads, as the kernel sees them
}

// report confines this process and writes down what it can do then, and what not.
func report(folder string) {
	hold := make(chan struct{})
	defer close(hold)
	for range 8 { // threads that are there already
		ready := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(ready)
			<-hold
		}()
		<-ready
	}
	tasks, err := os.Open("/proc/self/task") // to read on when it cannot be opened
	if err != nil {
		panic(err)
	}
	statuses := make([]*os.File, 0)
	names, err := tasks.Readdirnames(-1)
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		f, err := os.Open("/proc/self/task/" + name + "/status")
		if err != nil {
			panic(err)
		}
		statuses = append(statuses, f)
	}
	policy := Policy{
		NetAdmin: true, Listen: []uint16{40001},
		Read: []string{filepath.Join(folder, "read", "file"), filepath.Join(folder, "links", "link"), "/etc/hosts"},
		Keep: []string{filepath.Join(folder, "keep")}, Settings: []string{"/proc/sys/net/ipv6/conf"},
	}
	f := findings{Result: policy.Apply().String(), Tried: make(map[string]string)}
	os.Stdout.WriteString("confined\n")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil { // until the file is another one
		panic(err)
	}
	try := func(what string, err error) { f.Tried[what] = fmt.Sprint(err) }
	read := func(path string) error { _, err := os.ReadFile(path); return err }
	socket := func(family, kind, protocol int) error { _, err := unix.Socket(family, kind, protocol); return err }
	listen := func(port int) error { _, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); return err }

	keep := filepath.Join(folder, "keep", "file")
	try("may read a file that has replaced another", read(filepath.Join(folder, "read", "file")))
	try("may replace a file", errors.Join(os.WriteFile(keep+".new", nil, 0o600), os.Rename(keep+".new", keep)))
	try("may read behind a link", read(filepath.Join(folder, "links", "link")))
	try("may read /etc/hosts", read("/etc/hosts"))
	try("may write", os.WriteFile(keep, []byte("x"), 0o600))
	try("may remove", os.Remove(keep))
	try("may make a TCP listener", listen(40001))
	try("may open UDP", socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	try("may open netlink", socket(unix.AF_NETLINK, unix.SOCK_RAW, 0))
	try("may start a thread", thread())
	setting, err := os.OpenFile("/proc/sys/net/ipv6/conf/all/forwarding", os.O_WRONLY, 0)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOENT) {
		err = nil // of this machine
	}
	try("may write a setting", err)
	setting.Close()

	try("read /etc/shadow", read("/etc/shadow"))
	try("read another file", read(filepath.Join(folder, "other")))
	try("write what may be read", os.WriteFile(filepath.Join(folder, "read", "file"), nil, 0o600))
	try("write another setting", os.WriteFile("/proc/sys/kernel/core_pattern", nil, 0o600))
	try("make a folder", os.Mkdir(filepath.Join(folder, "keep", "more"), 0o700))
	try("listen elsewhere", listen(40002))
	_, err = net.DialTimeout("tcp", "127.0.0.1:40001", time.Minute)
	try("connect by TCP", err)
	try("start a program", exec.Command("/bin/true").Run())
	try("open a raw socket", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP))
	try("open a socket of MPTCP", socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP))
	try("open a packet socket", socket(unix.AF_PACKET, unix.SOCK_RAW, 0))
	try("open a socket of another family", socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0))
	try("make memory executable", executable())
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, 0, 0)
	try("make a map", errno)
	try("trace", unix.PtraceAttach(os.Getppid()))
	try("mount", unix.Mount("none", folder, "tmpfs", 0, ""))
	try("leave the network namespace", unix.Unshare(unix.CLONE_NEWNET))
	try("become another user", unix.Setresuid(1, 1, 1))
	try("signal another process", unix.Kill(os.Getppid(), 0))
	try("change the mode of a file", os.Chmod(keep, 0o777))
	try("change the clock", unix.Settimeofday(&unix.Timeval{}))

	all := new(bytes.Buffer)
	for _, s := range statuses {
		if _, err := all.ReadFrom(s); err != nil && !errors.Is(err, unix.ESRCH) { // that thread has ended
			panic(err)
		}
	}
	f.Status = all.String()
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		panic(err)
	}
}

// thread has the runtime make a thread, and runs there.
func thread() error {
	done := make(chan error)
	for range 8 {
		go func() {
			runtime.LockOSThread() // for good, so that each has its own
			done <- unix.Kill(os.Getpid(), 0)
		}()
	}
	for range 8 {
		if err := <-done; !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("a new thread is not confined: %v", err)
		}
	}
	return nil
}

func executable() error {
	_, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	return err
}

// A confined program can do what the policy says, and nothing else, on any of its threads, though it runs as root.
func TestConfined(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("shows what root can still do")
	}
	if version, err := ll.LandlockGetABIVersion(); err != nil || version < 5 {
		t.Skipf("the kernel's landlock has version %d, %v", version, err)
	}
	folder := t.TempDir()
	for _, name := range []string{"read/file", "read/new", "keep/file", "links/file", "behind/file", "other"} {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../behind/file", filepath.Join(folder, "links", "link")); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), task+"="+folder)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	if line, err := answers.ReadString('\n'); err != nil || line != "confined\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := os.Rename(filepath.Join(folder, "read", "new"), filepath.Join(folder, "read", "file")); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte{'\n'}); err != nil {
		t.Fatal(err)
	}
	var got findings
	if err := json.NewDecoder(answers).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := "capabilities, no_new_privs, landlock, seccomp"; got.Result != want {
		t.Errorf("confined: %s; want %s", got.Result, want)
	}
	for what, err := range got.Tried {
		may := strings.HasPrefix(what, "may ")
		denied := strings.Contains(err, "permission denied") || strings.Contains(err, "operation not permitted")
		if may && err != "<nil>" || !may && !denied {
			t.Errorf("%s: %s", what, err)
		}
	}
	want := []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000001000", "CapEff:\t0000000000001000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"}
	threads := strings.Count(got.Status, "\nPid:")
	if threads < 8 {
		t.Errorf("%d threads were looked at", threads)
	}
	for _, line := range want {
		if n := strings.Count(got.Status, line+"\n"); n != threads {
			t.Errorf("%d of %d threads have %s:\n%s", n, threads, line,
				strings.Join(slices.Compact(regexp.MustCompile(`(?m)^(Cap|NoNew|Seccomp).*$`).FindAllString(got.Status, -1)), "\n"))
		}
	}
}

// What the kernel lacks is named, and the rest is there.
func TestResult(t *testing.T) {
	r := Result{Means: []string{"capabilities", "no_new_privs"}, Missing: []error{errors.New("not landlock: the kernel has none")}}
	if got, want := r.String(), "capabilities, no_new_privs; not landlock: the kernel has none"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
