package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
)

const maxFile = 16 << 20 // bytes; several hundred thousand clients

// Load reads a secrets file. It refuses a file that users other than its owner can read or change. The errors name the file
// and the line, and say what to do.
func Load(path string) ([]Client, error) {
	clients, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("secrets file %s: %w", path, err)
	}
	return clients, nil
}

// LoadOne reads a secrets file that must have exactly one client, as the file of a client has.
func LoadOne(path string) (Client, error) {
	clients, err := Load(path)
	switch {
	case err != nil:
		return Client{}, err
	case len(clients) > 1:
		return Client{}, fmt.Errorf("secrets file %s has %d clients; keep only the line of this client", path, len(clients))
	}
	return clients[0], nil
}

func load(path string) ([]Client, error) {
	text, err := Read(path)
	if err != nil {
		return nil, err
	}
	return Parse(text)
}

// Read reads a file with secrets. It refuses one that others than its owner can read or change.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, cause(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	}
	if open, mend := openToOthers(f, info); open != "" {
		return nil, fmt.Errorf("users other than its owner can read or change it (%s); run '%s', "+
			"and get new secrets if somebody else had access to this host", open, mend)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, cause(err)
	case len(text) > maxFile:
		return nil, fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	return text, nil
}

// cause removes operation and path from an error of package os.
func cause(err error) error {
	if at, ok := errors.AsType[*os.PathError](err); ok {
		return at.Err
	}
	return err
}

// Warn logs the clients whose secrets are weak.
func Warn(log *slog.Logger, clients ...Client) {
	for _, c := range clients {
		if c.Weak() {
			log.Warn("a secret is too short: it can be guessed from recorded traffic; 'openssl rand -hex 16' makes a good one, to be "+
				"written after hex:", "client", c.ID, "line", c.Line, "bytes", len(c.Secret), "want", minStrong)
		}
	}
}
