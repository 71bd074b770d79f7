package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Apply confines the process, with all its threads, for good.
func (p Policy) Apply() (r Result) {
	_, _ = time.Now().Zone() // reads the time zone's file while it can be read
	for _, means := range []struct {
		name  string
		apply func() error
	}{
		{"capabilities", p.dropCapabilities},
		{"no_new_privs", forbidNewPrivileges},
		{"landlock", p.restrictFiles},
		{"seccomp", p.filterSystemCalls}, // last, as it forbids what the others do
	} {
		if err := means.apply(); err != nil {
			r.Missing = append(r.Missing, fmt.Errorf("not %s: %w", means.name, err))
			continue
		}
		r.Means = append(r.Means, means.name)
	}
	return r
}

// What capset(2) reads. All threads call it, while the stack of the calling goroutine may move: so this is not on a stack.
var (
	capabilityHeader = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	capabilities     [2]unix.CapUserData
)

// dropCapabilities keeps those that are needed, if the process has them. A root user, too, has no others then.
func (p Policy) dropCapabilities() error {
	if p.NetAdmin {
		if err := unix.Capget(&capabilityHeader, &capabilities[0]); err != nil {
			return err
		}
	}
	const keep = 1 << unix.CAP_NET_ADMIN
	has := capabilities[0].Permitted & keep
	capabilities = [2]unix.CapUserData{{Permitted: has, Effective: has}}
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&capabilityHeader)), uintptr(unsafe.Pointer(&capabilities)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func forbidNewPrivileges() error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

const (
	readAccess = ll.AccessFSReadFile | ll.AccessFSReadDir
	keepAccess = readAccess | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg | ll.AccessFSRemoveFile
)

// restrictFiles hides the file system, but for what is needed, and TCP.
func (p Policy) restrictFiles() error {
	if version, err := ll.LandlockGetABIVersion(); err != nil || version < 1 {
		return errors.New("the kernel has none, or has it turned off")
	}
	// The rights of Linux 6.10, of which an older kernel has fewer.
	config := landlock.Config{HandledAccessFS: ll.AccessFSIoctlDev<<1 - 1, HandledAccessNet: ll.AccessNetBindTCP | ll.AccessNetConnectTCP}
	if p.Connect {
		config.HandledAccessNet &^= ll.AccessNetConnectTCP
	}
	rules := []landlock.Rule{
		landlock.PathAccess(keepAccess, p.Keep...).IgnoreIfMissing(),
		landlock.PathAccess(ll.AccessFSReadFile|ll.AccessFSWriteFile, p.Settings...).IgnoreIfMissing(),
	}
	for _, folder := range p.Settings {
		// The kernel may forget a folder below /proc that nobody has open, and the rule with it. So this stays open.
		if _, err := unix.Open(folder, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("open %s: %w", folder, err)
		}
	}
	for _, path := range p.Read {
		rules = append(rules, readable(path, holdsSecrets)...)
	}
	for _, path := range p.Replaced {
		rules = append(rules, readable(path, func(string) bool { return false })...)
	}
	if p.Connect {
		rules = append(rules, landlock.BindTCP(0)) // to an address of this host, and a port that the kernel chooses
	}
	for _, port := range p.Listen {
		rules = append(rules, landlock.BindTCP(port))
	}
	return config.BestEffort().Restrict(rules...)
}

// readable allows a file to be read. Another one that takes its place is another one for the kernel, so it is the folder that
// is allowed, unless it has secrets: that of the name, and, where the name is a link, that of the file itself.
func readable(path string, hasSecrets func(folder string) bool) (rules []landlock.Rule) {
	folders := []string{filepath.Dir(path)}
	if file, err := filepath.EvalSymlinks(path); err == nil {
		folders = append(folders, filepath.Dir(file))
	}
	for _, folder := range folders {
		if hasSecrets(folder) {
			rules = append(rules, landlock.PathAccess(ll.AccessFSReadFile, path).IgnoreIfMissing())
			continue
		}
		rules = append(rules, landlock.PathAccess(readAccess, folder).IgnoreIfMissing())
	}
	return rules
}

// holdsSecrets reports whether a folder has files of other programs that a root user may read and nobody else.
func holdsSecrets(folder string) bool {
	return os.Geteuid() == 0 && slices.Contains([]string{"/", "/etc", "/root"}, folder)
}
