package confine

import (
	"fmt"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// allowed are the system calls of Go's runtime and of programs that move packets, read and write files, and answer on sockets.
// Those that an architecture does not have are left out.
var allowed = []string{
	// memory; mmap and mprotect have conditions
	"munmap", "madvise", "mincore", "mremap", "brk",
	// threads, signals to them, waiting; clone has conditions
	"exit", "exit_group", "futex", "gettid", "getpid", "getppid", "tkill", "tgkill", "sched_yield", "sched_getaffinity",
	"set_robust_list", "rseq", "arch_prctl", "sigaltstack", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "restart_syscall",
	"getuid", "geteuid", "getgid", "getegid", "getrusage", "getrandom", "uname",
	// time
	"nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time",
	"setitimer", "timer_create", "timer_settime", "timer_delete",
	// descriptors and files
	"read", "write", "pread64", "pwrite64", "readv", "writev", "close", "fcntl", "dup", "dup3", "pipe2",
	"open", "openat", "stat", "lstat", "fstat", "newfstatat", "fstatat", "statx", "lseek", "getdents64", "readlink", "readlinkat",
	"getcwd", "fsync", "fdatasync", "ftruncate", "flock", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir",
	// sockets; socket and ioctl have conditions
	"bind", "connect", "listen", "accept", "accept4", "getsockname", "getpeername", "getsockopt", "setsockopt", "shutdown",
	"sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "poll", "ppoll", "select", "pselect6",
}

// bpfCommands are those that need no new program or map.
var bpfCommands = []uint64{
	unix.BPF_MAP_LOOKUP_ELEM, unix.BPF_MAP_UPDATE_ELEM, unix.BPF_MAP_DELETE_ELEM, unix.BPF_MAP_GET_NEXT_KEY,
	unix.BPF_LINK_CREATE, unix.BPF_LINK_DETACH, unix.BPF_OBJ_GET_INFO_BY_FD,
}

// filterSystemCalls denies all system calls that are not needed, with EPERM.
func (p Policy) filterSystemCalls() error {
	machine, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("the filter does not know this processor: %w", err)
	}
	allow := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	for _, name := range allowed {
		if _, has := machine.SyscallNames[name]; has {
			allow.Names = append(allow.Names, name)
		}
	}
	when := func(name string, conditions ...seccomp.Condition) {
		allow.NamesWithCondtions = append(allow.NamesWithCondtions, seccomp.NameWithConditions{Name: name, Conditions: conditions})
	}
	when("clone", seccomp.Condition{Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD})
	for _, name := range []string{"mmap", "mprotect"} {
		when(name, seccomp.Condition{Argument: 2, Operation: seccomp.BitsNotSet, Value: unix.PROT_EXEC})
	}
	for _, family := range []uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK} {
		when("socket", seccomp.Condition{Argument: 0, Operation: seccomp.Equal, Value: family},
			// Landlock may take no notice of its ports, as of those of TCP.
			seccomp.Condition{Argument: 2, Operation: seccomp.NotEqual, Value: unix.IPPROTO_MPTCP})
	}
	when("ioctl", seccomp.Condition{Argument: 1, Operation: seccomp.Equal, Value: unix.SIOCETHTOOL})
	if p.BPF {
		for _, command := range bpfCommands {
			when("bpf", seccomp.Condition{Argument: 0, Operation: seccomp.Equal, Value: command})
		}
	}
	groups := []seccomp.SyscallGroup{allow}
	if _, has := machine.SyscallNames["clone3"]; has {
		// The C library makes threads with clone when the kernel does not know clone3, whose flags a filter cannot see.
		groups = append(groups, seccomp.SyscallGroup{
			Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: []string{"clone3"},
		})
	}
	return seccomp.LoadFilter(seccomp.Filter{
		Flag:   seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: groups},
	})
}
