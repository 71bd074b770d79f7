package cli

import (
	"context"
	"fmt"
	"os"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
)

// runningProgram is what a running program tells of itself for a bug report, beside its status and its peers.
type runningProgram struct {
	Version string            `json:"version"`
	Flags   map[string]string `json:"flags"` // of the run command that have a value, without secrets
	Log     []string          `json:"log"`   // the latest lines
	PID     int               `json:"pid"`
	Unit    string            `json:"unit,omitempty"` // of systemd that it is the main process of; empty: none
}

// report is the question that a runningProgram is the answer to. Those may ask it who may ask for peers, as the log can name them.
func (p *Process) report(peers control.Question) (control.Question, error) {
	circle := peers.Circle
	if circle == nil {
		var err error
		if circle, err = control.NewCircle(""); err != nil {
			return control.Question{}, err
		}
	}
	p.noteFlags()
	unit := ownUnit()
	return control.Question{Circle: circle, Answer: func(context.Context) (any, error) {
		return runningProgram{versionLine(p.command.Model.Name), *p.flags.Load(), p.latest.all(), os.Getpid(), unit}, nil
	}}, nil
}

// ownUnit is the unit of systemd that this process is the main process of, if there is one.
func ownUnit() string {
	if os.Getenv("SYSTEMD_EXEC_PID") != strconv.Itoa(os.Getpid()) {
		return ""
	}
	text, _ := os.ReadFile("/proc/self/cgroup") // without it the unit is not known
	return unitIn(string(text))
}

// unitIn is the service in a list of control groups, the last of which is that of systemd.
func unitIn(cgroups string) string {
	if unit := path.Base(strings.TrimSpace(cgroups)); strings.HasSuffix(unit, ".service") {
		return unit
	}
	return ""
}

// noteFlags notes the values that the flags have now.
func (p *Process) noteFlags() {
	flags := make(map[string]string)
	for _, flag := range p.command.Selected().Flags {
		switch {
		case flag.Target.IsZero():
		case holdsSecret(flag):
			flags[flag.Name] = "(removed: it may be a secret)"
		default:
			flags[flag.Name] = asTyped(flag.Target)
		}
	}
	p.flags.Store(&flags)
}

// asTyped is a value as it can be written on the command line.
func asTyped(v reflect.Value) string {
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface())
	}
	items := make([]string, v.Len())
	for i := range items {
		items[i] = asTyped(v.Index(i))
	}
	return strings.Join(items, ",")
}

// holdsSecret reports whether the value of a flag may be a secret, by the flag's name. The name of a file with secrets is none. A
// command may have a secret among its arguments.
func holdsSecret(flag *kong.Flag) bool {
	named := regexp.MustCompile(`(^|-)(secret|key|token|password)s?(-|$)`).MatchString(flag.Name)
	return named && flag.PlaceHolder != "FILE" || flag.PlaceHolder == "COMMAND"
}
