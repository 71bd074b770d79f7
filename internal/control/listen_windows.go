package control

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	socketType = 0 // of a regular file
	maxPath    = 32767
)

// Errors of connections.
const (
	errRefused = windows.WSAECONNREFUSED
	errReset   = windows.WSAECONNRESET
)

// socket is a control socket: a TCP port of the loopback address.
type socket struct {
	net.Listener
	token string
	file  *os.File // names port and token; nobody else can write to it, and it is gone when it is closed
}

// Listen opens the control socket, and writes its port and a token to the file at path, in a folder that it makes. While another
// program has that file, the error is ErrRunning. Closing the listener removes the file.
func Listen(path string) (net.Listener, error) {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, explain("create the folder of the control socket, "+folder, err)
	}
	file, err := create(path)
	switch {
	case errors.Is(err, windows.ERROR_SHARING_VIOLATION):
		return nil, wrongSocket("%w (control socket %s): stop it first", ErrRunning, path)
	case err != nil:
		return nil, explain("create the control socket "+path, err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("listen for the control socket %s: %w", path, err)
	}
	s := &socket{l, rand.Text(), file}
	if _, err := fmt.Fprintf(file, "%s %s\n", l.Addr(), s.token); err != nil {
		s.Close()
		return nil, explain("write the control socket "+path, err)
	}
	return s, nil
}

// create makes a file that only the user of this process, administrators and the system can read, whatever the folder grants.
func create(path string) (*os.File, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("find the user of this process: %w", err)
	}
	descriptor, err := windows.SecurityDescriptorFromString("D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;" + user.User.Sid.String() + ")")
	if err != nil {
		return nil, fmt.Errorf("describe who may read it: %w", err)
	}
	// A file that was left behind has an access list of its own, so a new one takes its place. It cannot be deleted while a program
	// has it.
	if err := windows.DeleteFile(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	security := &windows.SecurityAttributes{Length: uint32(unsafe.Sizeof(windows.SecurityAttributes{})), SecurityDescriptor: descriptor}
	handle, err := windows.CreateFile(name, windows.GENERIC_WRITE|windows.DELETE, windows.FILE_SHARE_READ, security,
		windows.CREATE_NEW, windows.FILE_ATTRIBUTE_NORMAL|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(handle), path), nil
}

// Close closes the port and removes the file.
func (s *socket) Close() error { return errors.Join(s.Listener.Close(), s.file.Close()) }

// address reads port and token from the file at path.
func address(path string) (port, token string, err error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return "", "", err
	}
	// The program that wrote the file holds it open for deletion, which package os does not allow for.
	handle, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return "", "", err
	}
	file := os.NewFile(uintptr(handle), path)
	defer file.Close()
	text := make([]byte, 256)
	n, err := file.Read(text)
	if err != nil {
		return "", "", err
	}
	port, token, ok := strings.Cut(strings.TrimSpace(string(text[:n])), " ")
	if host, _, err := net.SplitHostPort(port); !ok || err != nil || host != "127.0.0.1" {
		return "", "", wrongSocket("%s is no control socket: it does not name a port and a token", path)
	}
	return port, token, nil
}

// dial connects to the port that the file at path names.
func dial(ctx context.Context, path string) (net.Conn, error) {
	port, _, err := address(path)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, "tcp4", port)
}

// authorize gives a request the token of the file at path.
func authorize(path string, r *http.Request) error {
	_, token, err := address(path)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// guard lets those in who have read the token. A page in a browser has not, so it can ask for nothing.
func guard(l net.Listener, h http.Handler) http.Handler {
	s, ok := l.(*socket)
	if !ok {
		return h
	}
	want := []byte("Bearer " + s.token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "the token is wrong: read it from the file of the control socket", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}
