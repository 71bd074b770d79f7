package control

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func pointer(groups []uint32) uintptr {
	if len(groups) == 0 {
		return 0
	}
	return uintptr(unsafe.Pointer(&groups[0]))
}

// rawAsk asks on the calling thread alone.
func rawAsk(path, method, what string) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, err
	}
	if _, err := unix.Write(fd, []byte(method+" /"+what+" HTTP/1.0\r\n\r\n")); err != nil {
		return nil, err
	}
	var answer []byte
	for {
		b := make([]byte, 4096)
		n, err := unix.Read(fd, b)
		if n <= 0 || err != nil {
			return answer, err
		}
		answer = append(answer, b[:n]...)
	}
}

// watchModes counts changes of attributes of files in a folder.
func watchModes(t *testing.T, folder string) (changes func() int) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, folder, unix.IN_ATTRIB); err != nil {
		t.Fatal(err)
	}
	return func() int {
		b := make([]byte, 4096)
		n, err := unix.Read(fd, b)
		if err == unix.EAGAIN {
			return 0
		}
		if err != nil {
			t.Fatal(err)
		}
		return n / unix.SizeofInotifyEvent
	}
}
