package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
)

// partTimeout bounds the time that one part of a bug report takes.
const partTimeout = 30 * time.Second

// Bugreport is the bugreport command of a program that tells nothing of peers.
type Bugreport struct {
	Output  string `short:"o" placeholder:"FILE" help:"Write to this file, which must not exist yet. The default is named by the program and the time, in the current folder."`
	Control string `default:"${control}" placeholder:"PATH" help:"Control socket of the program that the report is about (${default})."`
}

// Help is the detailed help.
func (Bugreport) Help() string {
	return `The report is one archive of text files: version, configuration, status, log of the last minutes, and what matters of
this host: addresses, routes, kernel. Client and relay add their peers, and the client a probe of its server. It contains no
secrets. But it contains addresses, of this host and of those that it talks to. Read it before you send it to somebody.

Take it as root, or as the user that the program runs as: others are not told of configuration, log and peers. What is
not there, because the program does not run for instance, is left out, and its file says why.

Examples:

    ${name} bugreport
    ${name} bugreport -o report.tar.gz`
}

// Part is a file of a bug report.
type Part struct {
	Name, About string
	// Write writes the content. What it has written counts also when it fails. Flags are those of the running program, by their
	// names: none if they are not known.
	Write func(ctx context.Context, to io.Writer, flags map[string]string) error
}

// Run writes the report.
func (b *Bugreport) Run(ctx context.Context, k *kong.Kong) error { return b.WriteWith(ctx, k) }

// PeersBugreport is the bugreport command of a program that tells of peers.
type PeersBugreport struct{ Bugreport }

// Run writes the report.
func (b *PeersBugreport) Run(ctx context.Context, k *kong.Kong) error { return b.WriteWith(ctx, k) }

// WriteWith writes the report with peers and further parts, and says what is in it.
func (b *PeersBugreport) WriteWith(ctx context.Context, k *kong.Kong, more ...Part) error {
	peers := Part{"peers.json", "whom this host exchanges packets with: addresses of others", b.answer("peers")}
	return b.Bugreport.WriteWith(ctx, k, append(more, peers)...)
}

// WriteWith writes the report with further parts, and says what is in it.
func (b *Bugreport) WriteWith(ctx context.Context, k *kong.Kong, more ...Part) error {
	name := k.Model.Name + "-" + time.Now().UTC().Format("20060102T150405Z")
	file := b.Output
	if file == "" {
		file = name + ".tar.gz"
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already: name another file with -o", file)
	case err != nil:
		return fmt.Errorf("cannot write the report: %w; name another file with -o", err)
	}
	contents, err := b.fill(ctx, k, out, name, more)
	if err := errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	_, err = fmt.Fprintf(k.Stdout, "%s\n%s contains no secrets. But it contains addresses of this host, and of others if it has\n"+
		"peers.json or log.txt. Read it before you send it to somebody: tar -xzf %[2]s\n", contents, file)
	return err
}

// fill writes the archive, and returns what is in it, one line a file.
func (b *Bugreport) fill(ctx context.Context, k *kong.Kong, out io.Writer, folder string, more []Part) (contents string, err error) {
	tell := NewProgress(k.Stderr)
	defer tell.End()
	var program runningProgram
	tell.WaitsFor("the running program")
	unknown := control.Get(ctx, b.Control, "report", &program)
	compressed := gzip.NewWriter(out)
	archive := tar.NewWriter(compressed)
	var list strings.Builder
	for _, part := range slices.Concat(b.parts(k, program, unknown), more) {
		tell.WaitsFor(part.Name)
		content, fault := part.take(ctx, program.Flags)
		if ctx.Err() != nil {
			return "", errors.New("interrupted")
		}
		fmt.Fprintf(&list, "  %-14s %8d bytes  %s", part.Name, len(content), part.About)
		if fault != nil {
			list.WriteString(" (not complete, it says why)")
		}
		list.WriteByte('\n')
		header := &tar.Header{Name: folder + "/" + part.Name, Mode: 0o600, Size: int64(len(content)), ModTime: time.Now()}
		if err := archive.WriteHeader(header); err != nil {
			return "", fmt.Errorf("write the report: %w", err)
		}
		if _, err := archive.Write(content); err != nil {
			return "", fmt.Errorf("write the report: %w", err)
		}
	}
	if err := errors.Join(archive.Close(), compressed.Close()); err != nil {
		return "", fmt.Errorf("write the report: %w", err)
	}
	return list.String(), nil
}

// take makes the content of a part. What is wrong with it is its last line, too.
func (p Part) take(ctx context.Context, flags map[string]string) (content []byte, fault error) {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	var out bytes.Buffer
	if fault = p.Write(ctx, &out, flags); fault != nil {
		fmt.Fprintf(&out, "not complete: %v\n", fault)
	}
	return out.Bytes(), fault
}

// parts are those that the reports of all programs have. Unknown says why the running program has told nothing of itself.
func (b *Bugreport) parts(k *kong.Kong, program runningProgram, unknown error) []Part {
	known := func(text string) func(context.Context, io.Writer, map[string]string) error {
		return func(_ context.Context, to io.Writer, _ map[string]string) error {
			if unknown != nil {
				return unknown
			}
			_, err := io.WriteString(to, text)
			return err
		}
	}
	var config strings.Builder
	for _, name := range slices.Sorted(maps.Keys(program.Flags)) {
		fmt.Fprintf(&config, "%s = %s\n", name, program.Flags[name])
	}
	return []Part{
		{"version.txt", "version of this command, and of the running program", func(ctx context.Context, to io.Writer, flags map[string]string) error {
			fmt.Fprintf(to, "command: %s\nrunning: ", versionLine(k.Model.Name))
			return known(program.Version+"\n")(ctx, to, flags)
		}},
		{"config.txt", "flags of the running program, from its command line and configuration file", known(config.String())},
		{"status.json", "what the status command shows", b.answer("status")},
		{"log.txt", "latest lines of the log, which may name others", known(strings.Join(program.Log, "\n") + "\n")},
		{"addresses.txt", "interfaces and addresses of this host", outputOf("ip -details address")},
		{"routes.txt", "routes and rules of this host", outputOf("ip -4 rule", "ip -4 route show table all", "ip -6 rule", "ip -6 route show table all")},
		{"kernel.txt", "kernel, distribution, IPv6 settings", contentOf("/proc/version", "/etc/os-release",
			"/proc/sys/net/ipv6/conf/all/disable_ipv6", "/proc/sys/net/ipv6/conf/all/forwarding")},
	}
}

// answer writes what the running program answers.
func (b *Bugreport) answer(what string) func(context.Context, io.Writer, map[string]string) error {
	return func(ctx context.Context, to io.Writer, _ map[string]string) error {
		query := Query{JSON: true, Control: b.Control}
		answer, err := query.asks(what)(ctx)
		if err != nil {
			return err
		}
		return query.print(to, answer, nil)
	}
}

// outputOf writes what commands print.
func outputOf(lines ...string) func(context.Context, io.Writer, map[string]string) error {
	return func(ctx context.Context, to io.Writer, _ map[string]string) (err error) {
		for _, line := range lines {
			fmt.Fprintf(to, "# %s\n", line)
			words := strings.Fields(line)
			command := exec.CommandContext(ctx, words[0], words[1:]...)
			command.Stdout, command.Stderr = to, to
			if fault := command.Run(); fault != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", line, fault))
			}
		}
		return err
	}
}

// contentOf writes the content of files.
func contentOf(names ...string) func(context.Context, io.Writer, map[string]string) error {
	return func(_ context.Context, to io.Writer, _ map[string]string) (err error) {
		for _, name := range names {
			text, fault := os.ReadFile(name)
			fmt.Fprintf(to, "# %s\n%s\n", name, bytes.TrimSpace(text))
			err = errors.Join(err, fault)
		}
		return err
	}
}
