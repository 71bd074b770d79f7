package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/succession"
)

const (
	upgrades       = "upgrade" // the question on the control socket
	upgradeMark    = "TEREDO_UPGRADE"
	upgradeTimeout = 2 * time.Minute // for the new process to take over
)

// The files that the upgrade command gives to the process that it starts, in addition to the standard ones.
const (
	successorConn   = 3 // to the running program
	successorStderr = 4 // standard error of the running program
)

// Upgrade is the upgrade command.
type Upgrade struct {
	Control string `default:"${control}" placeholder:"PATH" help:"Control socket of the running program (${default})."`
}

// Help is the detailed help.
func (Upgrade) Help() string {
	return `The program that this command belongs to takes the place of the running one: same command line, same environment, and the
configuration file as it is now. It gets the sockets, the interface and what is known of the peers, so connections go on without
a gap. If it cannot start, the running program goes on, and this command says why. The process has another ID afterwards.

Under systemd, run 'systemctl reload ${name}' instead. It takes root, or the user that the program runs as.

Examples:

    ${name} upgrade`
}

// Run replaces the running program.
func (u *Upgrade) Run(ctx context.Context, k *kong.Kong) error {
	name := k.Model.Name
	ctx, cancel := context.WithTimeout(ctx, upgradeTimeout)
	defer cancel()
	conn, err := control.Connect(ctx, u.Control, upgrades)
	if _, wrong := errors.AsType[*control.SocketError](err); wrong && !errors.Is(err, control.ErrNotRunning) {
		err = fmt.Errorf("the running program cannot be replaced while it runs, as it is too old or of another kind: stop it, and start %s", name)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	how, stderr, err := succession.ReadInvocation(conn)
	if err != nil {
		return fmt.Errorf("ask how the running program was started: %w; stop it, and start %s", err, name)
	}
	defer stderr.Close()
	if err := mayReplace(name, how); err != nil {
		return err
	}
	successor, err := startSuccessor(conn, how, stderr)
	if err != nil {
		return fmt.Errorf("start the new program: %w", err)
	}
	if err := successor.await(ctx); err != nil {
		return fmt.Errorf("the running program goes on, as the new one has not taken over: %w", err)
	}
	_, err = fmt.Fprintf(k.Stdout, "%s runs on as process %d.\n", name, successor.command.Process.Pid)
	return err
}

// mayReplace says what is wrong with replacing a program by this one.
func mayReplace(name string, how succession.Invocation) error {
	cgroups, _ := os.ReadFile("/proc/self/cgroup") // without it there is no unit
	switch {
	case how.Program != name:
		return fmt.Errorf("the program on this control socket is %s: use '%[1]s upgrade'", how.Program)
	case how.Unit != "" && unitIn(string(cgroups)) != how.Unit:
		return fmt.Errorf("%s runs as a unit, which knows its user and its rights: run 'systemctl reload %s'", name, how.Unit)
	case how.UID != os.Geteuid():
		return fmt.Errorf("%s runs as user %d, so its successor has to, too: run this command as that user", name, how.UID)
	}
	return nil
}

// successor is the process that is to replace the running program.
type successor struct {
	command *exec.Cmd
	words   *os.File // what it says until it has taken over
}

// startSuccessor starts this program in the way that the running one was started.
func startSuccessor(conn *net.UnixConn, how succession.Invocation, stderr *os.File) (*successor, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	socket, err := conn.File()
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	words, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	s := &successor{command: exec.Command(program, how.Args...), words: words}
	s.command.Env = append(how.Env, upgradeMark+"=1")
	s.command.Dir = how.Folder
	s.command.Stderr = write
	s.command.ExtraFiles = []*os.File{socket, stderr} // successorConn, successorStderr
	detach(s.command)
	if err := s.command.Start(); err != nil {
		words.Close()
		return nil, err
	}
	return s, nil
}

// await waits until the successor has taken over. If it does not, the error is what it says.
func (s *successor) await(ctx context.Context) error {
	defer s.words.Close()
	late := context.AfterFunc(ctx, func() { _ = s.command.Process.Kill() }) // it may have ended
	defer late()
	text, err := io.ReadAll(io.LimitReader(s.words, 64<<10))
	switch said, has := strings.CutSuffix(string(text), tookOver); {
	case has && said == "":
		return nil
	case err != nil:
		return err
	case ctx.Err() != nil:
		return errors.New("it was too slow")
	case said == "":
		return fmt.Errorf("it ended without a word: %w", s.command.Wait())
	default:
		return errors.New(strings.TrimSpace(said))
	}
}

// tookOver is what a successor says when it has taken over.
const tookOver = "\x00"

// heir is what a process knows that replaces another one. Nil stands for one that replaces none.
type heir struct {
	words *os.File      // to the person who upgrades
	conn  *net.UnixConn // to the other process

	ask       sync.Once
	inherited *succession.Inheritance // nil: it has not been asked for, or that has failed
	fault     error                   // why

	over sync.Once
	done chan struct{} // closed when it is known whether this process has taken over
	err  error         // why it has not
}

// succeed finds the process that the upgrade command has this one replace. It is nil if there is none.
func succeed() (*heir, error) {
	if os.Getenv(upgradeMark) == "" {
		return nil, nil
	}
	os.Unsetenv(upgradeMark)
	if os.Getenv("SYSTEMD_EXEC_PID") != "" {
		os.Setenv("SYSTEMD_EXEC_PID", strconv.Itoa(os.Getpid())) // see ownUnit
	}
	words, err := takeStderr(successorStderr)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(successorConn, "running program")
	defer file.Close() // FileConn duplicates it
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.ErrUnsupported, conn.Close())
	}
	return &heir{words: words, conn: socket, done: make(chan struct{})}, nil
}

// Write says something to the person who upgrades, or on standard error when that is over.
func (s *heir) Write(text []byte) (int, error) {
	if s.inherited != nil && s.inherited.Owns() {
		return os.Stderr.Write(text)
	}
	return s.words.Write(text)
}

// takeOver has the other process leave.
func (s *heir) takeOver() {
	if s.err = s.inherited.TakeOver(); s.err == nil {
		_, _ = io.WriteString(s.words, tookOver) // the command may have been interrupted
		s.words.Close()
	}
	close(s.done)
}

// Inherited is what this process gets of the one that it replaces; nil if it replaces none. Serve tells if it cannot be had.
func (p *Process) Inherited() *succession.Inheritance {
	s := p.heir
	if s == nil {
		return nil
	}
	s.ask.Do(func() { s.inherited, s.fault = succession.Inherit(s.conn) })
	return s.inherited
}

// TakeOver has the process that this one replaces leave, if there is one. Call it when this process does all that the other one did, and
// before anything that is wrong while both work. If it fails this process ends, and the other one goes on.
func (p *Process) TakeOver() bool {
	if p.heir == nil {
		return true
	}
	p.heir.over.Do(p.heir.takeOver)
	return p.heir.err == nil
}

// succeeded waits until this process has replaced the other one, if it is to replace one.
func (p *Process) succeeded(ctx context.Context) error {
	if p.heir == nil {
		return nil
	}
	select {
	case <-p.heir.done:
		return p.heir.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Names of listening sockets that are given, without what they listen at.
const (
	controlSocket = "control "
	webSocket     = "web "
	profileSocket = "profiles "
)

// giveListener gives a listening socket to a new process.
func giveListener(g *succession.Giver, name string, l net.Listener) {
	if l, ok := l.(interface{ File() (*os.File, error) }); ok {
		g.Listener(name, l)
	}
}

// upgrade is the question by which a new process gets what give gives. Only root may ask it, and the user of the program.
func (p *Process) upgrade(log *slog.Logger, give func(*succession.Giver) (leave func() error, err error)) (control.Question, error) {
	circle, err := control.NewCircle("")
	return control.Question{Take: p.giving(log, ownUnit(), give), Circle: circle}, err
}

// giving has one process at a time take the place of this one.
func (p *Process) giving(log *slog.Logger, unit string, give func(*succession.Giver) (leave func() error, err error)) func(*net.UnixConn) {
	return func(conn *net.UnixConn) {
		if !p.upgrading.TryLock() {
			succession.NewGiver(conn).Refuse(errors.New("another upgrade goes on"))
			return
		}
		defer p.upgrading.Unlock()
		folder, _ := os.Getwd() // without it the new process starts where the command is
		g := succession.NewGiver(conn)
		err := g.Introduce(succession.Invocation{
			Program: p.name(), Args: p.args, Env: os.Environ(), Folder: folder, PID: os.Getpid(), UID: os.Geteuid(), Unit: unit,
		}, os.Stderr)
		if err != nil {
			log.Warn("upgrade: no new process has come up; this one goes on", "error", err)
			return
		}
		log.Info("upgrade: giving everything to a new process")
		leave, err := give(g)
		if err != nil {
			g.Refuse(err)
			log.Warn("upgrade: cannot give everything to a new process; this one goes on", "error", err)
			return
		}
		pid, err := g.Finish()
		if err != nil {
			log.Warn("upgrade: the new process has not taken over; this one goes on", "error", err)
			return
		}
		notify(fmt.Sprintf("MAINPID=%d", pid))
		if err := g.Leave(); err != nil {
			notify(fmt.Sprintf("MAINPID=%d", os.Getpid()))
			log.Error("upgrade: the new process is gone again; this one goes on", "error", err)
			return
		}
		if err := leave(); err != nil {
			log.Warn("upgrade: a few packets may be lost", "error", err)
		}
		log.Info("upgrade: a new process has taken over", "pid", pid)
		// Nothing is undone: interface, routes and files are those of the new process now.
		os.Exit(exitStopped)
	}
}
