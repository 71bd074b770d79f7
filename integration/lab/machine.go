//go:build linux

package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// MachineConfig describes a virtual machine.
type MachineConfig struct {
	Image  string // folder that integration/machine/image.sh has made
	Disk   string // qcow2 file with what the machine has changed, made where there is none; it outlives the machine
	Card   string // QEMU's model of the network card: "e1000", "virtio-net-pci"
	Switch string // bridge of the host that the card is at; the host's end has the name "machine"
	Shared string // folder that the machine sees, read-only, at /mnt after "mount -t 9p shared /mnt"
}

// Machine is a Debian in a virtual machine, in software emulation, with one network card.
type Machine struct {
	*Process
	folder  string
	agent   conversation // with the guest agent
	monitor conversation // with QEMU
}

// StartMachine boots a machine on a host of the lab, and waits until it takes commands.
func (h *Host) StartMachine(cfg MachineConfig) (*Machine, error) {
	folder, err := os.MkdirTemp(h.lab.folder, "machine")
	if err != nil {
		return nil, err
	}
	if err := makeOverlay(cfg); err != nil {
		return nil, err
	}
	batch := fmt.Sprintf("tuntap add machine mode tap\nlink set machine master %s up\n", cfg.Switch)
	if _, err := h.Run(time.Minute, "ip", "link", "show", "machine"); err != nil { // it outlives a machine that is killed
		if err := ip(batch, "-n", h.lab.namespace(h.Name), "-batch", "-"); err != nil {
			return nil, err
		}
	}
	m := &Machine{folder: folder}
	m.Process, err = h.Start("qemu-system-x86_64", "-machine", "q35,sata=off,usb=off,smbus=off", "-accel", "tcg", "-cpu", "max", "-m", "640",
		"-nodefaults", "-display", "none", "-serial", "file:"+m.console(), "-rtc", "base=utc",
		"-kernel", filepath.Join(cfg.Image, "kernel"), "-initrd", filepath.Join(cfg.Image, "initrd"),
		"-append", "root=/dev/vda rw console=ttyS0 quiet", "-drive", "if=virtio,cache=unsafe,file="+cfg.Disk,
		"-netdev", "tap,id=card,ifname=machine,script=no,downscript=no,vnet_hdr=off", "-device", cfg.Card+",netdev=card",
		"-virtfs", "local,path="+cfg.Shared+",mount_tag=shared,security_model=none,readonly=on",
		"-qmp", "unix:"+filepath.Join(folder, "monitor")+",server=on,wait=off",
		"-chardev", "socket,id=agent,server=on,wait=off,path="+filepath.Join(folder, "agent"),
		"-device", "virtio-serial", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0")
	if err != nil {
		return nil, err
	}
	if err := m.Until(15*time.Minute, "the machine to boot", m.Reconnect); err != nil {
		return nil, fmt.Errorf("%w; the console ends: %s", err, m.Console(10))
	}
	return m, nil
}

// makeOverlay makes the file with what a machine changes.
func makeOverlay(cfg MachineConfig) error {
	if _, err := os.Stat(cfg.Disk); err == nil {
		return nil
	}
	cmd := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", filepath.Join(cfg.Image, "disk.raw"), cfg.Disk)
	return feed(cmd, "")
}

func (m *Machine) console() string { return filepath.Join(m.folder, "console") }

// Console returns the last n lines that the machine's kernel and init have printed.
func (m *Machine) Console(n int) string {
	log, err := os.ReadFile(m.console())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Reconnect connects to QEMU's monitor and to the guest agent, if they answer.
func (m *Machine) Reconnect() error {
	if m.monitor.conn == nil {
		if err := m.monitor.open(filepath.Join(m.folder, "monitor")); err != nil {
			return err
		}
		if err := m.monitor.ask(10*time.Second, "qmp_capabilities", nil, nil); err != nil {
			m.monitor.close()
			return err
		}
	}
	if m.agent.conn == nil {
		if err := m.agent.open(filepath.Join(m.folder, "agent")); err != nil {
			return err
		}
	}
	if err := m.agent.synchronize(5 * time.Second); err != nil {
		m.agent.close()
		return err
	}
	return nil
}

// Monitor has QEMU do something with the machine, such as "stop", "cont", "system_wakeup".
func (m *Machine) Monitor(command string) error { return m.monitor.ask(time.Minute, command, nil, nil) }

// State is what QEMU says of the machine, such as "running", "suspended".
func (m *Machine) State() (string, error) {
	var state struct {
		Status string `json:"status"`
	}
	err := m.monitor.ask(time.Minute, "query-status", nil, &state)
	return state.Status, err
}

// Shell runs a shell command on the machine, and returns what it prints on both outputs. The error says how it ended.
func (m *Machine) Shell(timeout time.Duration, command string) (string, error) {
	type arguments struct {
		Path    string   `json:"path"`
		Arg     []string `json:"arg"`
		Capture bool     `json:"capture-output"`
	}
	var started struct {
		PID int `json:"pid"`
	}
	late := time.Now().Add(timeout)
	err := m.agent.ask(timeout, "guest-exec", arguments{"/bin/sh", []string{"-c", "exec 2>&1\n" + command}, true}, &started)
	if err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	for {
		var status struct {
			Exited   bool   `json:"exited"`
			ExitCode int    `json:"exitcode"`
			Signal   int    `json:"signal"`
			Out      []byte `json:"out-data"`
		}
		if err := m.agent.ask(timeout, "guest-exec-status", started, &status); err != nil {
			return "", fmt.Errorf("%s: %w", command, err)
		}
		out := string(status.Out)
		switch {
		case status.Exited && (status.ExitCode != 0 || status.Signal != 0):
			return out, fmt.Errorf("%s: exit code %d, signal %d: %s", command, status.ExitCode, status.Signal, strings.TrimSpace(out))
		case status.Exited:
			return out, nil
		case time.Now().After(late):
			return out, fmt.Errorf("%s: not finished after %v", command, timeout)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// conversation is with one who answers one JSON object with another one, each on a line.
type conversation struct {
	mu    sync.Mutex
	conn  net.Conn
	lines *bufio.Reader
}

func (c *conversation) open(socket string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	c.conn, c.lines = conn, bufio.NewReader(conn)
	return nil
}

func (c *conversation) close() {
	c.conn.Close()
	c.conn = nil
}

// synchronize passes over answers that came too late for whoever has asked.
func (c *conversation) synchronize(timeout time.Duration) error {
	id := time.Now().UnixNano() & 0xffffffff
	var answer json.RawMessage
	err := c.ask(timeout, "guest-sync", map[string]int64{"id": id}, &answer)
	for err == nil && string(answer) != fmt.Sprint(id) {
		err = c.answer("guest-sync", &answer)
	}
	return err
}

// ask sends a command and decodes what it returns. What else comes, such as events, is passed over.
func (c *conversation) ask(timeout time.Duration, command string, arguments, result any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return errors.New("not connected")
	}
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := c.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if err := json.NewEncoder(c.conn).Encode(request); err != nil {
		return err
	}
	return c.answer(command, result)
}

// answer decodes the next answer.
func (c *conversation) answer(command string, result any) error {
	for {
		line, err := c.lines.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		var answer struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			return fmt.Errorf("%s: %w in %q", command, err, line)
		}
		switch {
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", command, answer.Error.Desc)
		case answer.Return == nil:
			continue
		case result == nil:
			return nil
		}
		return json.Unmarshal(answer.Return, result)
	}
}
