package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// ErrNotRunning tells that nothing answers on the control socket.
var ErrNotRunning = errors.New("not running")

// SocketError says that no program can listen on a control socket, or that the one that listens there is not the one to ask. The
// path of another socket helps.
type SocketError struct{ error }

func (e *SocketError) Unwrap() error { return e.error }

// wrongSocket makes a SocketError.
func wrongSocket(format string, args ...any) error { return &SocketError{fmt.Errorf(format, args...)} }

// Answers reports whether a program listens on the control socket at path.
func Answers(path string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	conn, err := dial(ctx, path)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

const (
	getTimeout = 2 * answerTimeout
	maxAnswer  = 256 << 20 // bytes; a full list of peers is far smaller
)

// Get asks the program that listens on the control socket at path for what ("status", "peers"), and decodes
// the JSON answer into the value that into points to. The error is ErrNotRunning when nothing answers.
func Get(ctx context.Context, path, what string, into any) error {
	return ask(ctx, http.MethodGet, path, what, "", getTimeout, into)
}

// Do has the program do something with an argument ("ping" an address), and decodes what has come of it as Get does.
func Do(ctx context.Context, path, what, argument string, into any) error {
	return ask(ctx, http.MethodPost, path, what, "?"+url.QueryEscape(argument), doTimeout+answerTimeout, into)
}

func ask(ctx context.Context, method, path, what, query string, limit time.Duration, into any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, _, err := request(ctx, method, path, what, query, http.StatusOK, limit)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("read the %s from control socket %s: %w", what, path, err)
	}
	return nil
}

// Connect asks the program that listens on the control socket at path for what has Take there, and returns the connection to it.
func Connect(ctx context.Context, path, what string) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	_, conn, err := request(ctx, http.MethodPost, path, what, "", http.StatusSwitchingProtocols, getTimeout)
	if err != nil {
		return nil, err
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("ask on control socket %s: %w", path, errors.ErrUnsupported)
	}
	if _, err := socket.Write([]byte{0}); err != nil { // see serveTake
		socket.Close()
		return nil, unreachable(path, getTimeout, err)
	}
	return socket, nil
}

// request sends a request, whose answer must have the status code that is wanted. It returns the connection, too.
func request(ctx context.Context, method, path, what, query string, want int, limit time.Duration) (resp *http.Response, conn net.Conn, err error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var err error
			conn, err = dial(ctx, path)
			return conn, err
		},
		DisableKeepAlives: true,
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://control/"+what+query, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("ask for %s: %w", what, err)
	}
	if err := authorize(path, req); err != nil {
		return nil, nil, unreachable(path, limit, err)
	}
	resp, err = transport.RoundTrip(req)
	if err != nil {
		return nil, nil, unreachable(path, limit, err)
	}
	if resp.StatusCode != want {
		defer resp.Body.Close()
		return nil, nil, refused(path, what, resp.StatusCode, resp.Body)
	}
	return resp, conn, nil
}

// unreachable says in one sentence why nobody answered on the socket.
func unreachable(path string, limit time.Duration, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errRefused):
		return wrongSocket("%w: nothing answers on control socket %s: start it first", ErrNotRunning, path)
	case errors.Is(err, io.EOF), errors.Is(err, errReset), errors.Is(err, syscall.EPIPE),
		strings.HasSuffix(err.Error(), "server closed idle connection"): // net/http does not export this error
		return fmt.Errorf("%w: the program on control socket %s stopped before it had answered; ask again", ErrNotRunning, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to use control socket %s; run as root or as the user that started it", path)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer on control socket %s within %v; the program hangs, restart it", path, limit)
	}
	return fmt.Errorf("ask on control socket %s: %w", path, err)
}

// refused says why the program that answered did not give what was asked.
func refused(path, what string, code int, body io.Reader) error {
	if code == http.StatusNotFound {
		return wrongSocket("the program on control socket %s has no %s to show", path, what)
	}
	reason, _ := io.ReadAll(io.LimitReader(body, 512))
	return fmt.Errorf("the program on control socket %s cannot show its %s: %s", path, what, strings.TrimSpace(string(reason)))
}
