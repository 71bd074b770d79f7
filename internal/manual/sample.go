// Package manual writes documentation from the model of a command line: manual pages, and sample configuration files.
package manual

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// Keys are the flags of a command that its configuration file may have.
func Keys(command *kong.Node) (keys []*kong.Flag) {
	for _, flag := range command.Flags {
		if !flag.Hidden && flag.Name != "config" {
			keys = append(keys, flag)
		}
	}
	return keys
}

// Sample is a configuration file for a command: every key with its help and its default, commented out. A key that must be given
// has the value of its tag "example".
func Sample(command *kong.Node) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Configuration of %s. Each key is a flag without its dashes.\n"+
		"# Each line that starts with #KEY shows a default. To change it, remove the # and write another value.\n", command.FullPath())
	for _, flag := range Keys(command) {
		fmt.Fprintf(&out, "\n# %s\n", flag.Help)
		if flag.Required {
			out.WriteString("# This key is required.\n")
		}
		fmt.Fprintf(&out, "#%s = %s\n", flag.Name, value(flag))
	}
	return out.String()
}

// value is the default of a flag in TOML.
func value(flag *kong.Flag) string {
	text := flag.Default
	if flag.Required {
		text = flag.Tag.Get("example")
	}
	switch kind := flag.Target.Kind(); {
	case kind == reflect.Slice && text == "":
		return "[]"
	case kind == reflect.Slice:
		return fmt.Sprintf("[%q]", text)
	case text == "" && kind == reflect.Bool:
		return "false"
	case text == "" && flag.Target.CanInt(), text == "" && flag.Target.CanUint():
		return "0"
	case kind == reflect.Bool, strings.Trim(text, "0123456789") == "" && text != "":
		return text
	}
	return fmt.Sprintf("%q", text)
}
