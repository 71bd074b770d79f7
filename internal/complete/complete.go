// Package complete completes the words of a command line for shells, from the model of the command line.
package complete

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Files is what Words returns as only candidate where the shell is to complete the name of a file.
const Files = ":files"

// Candidate is what a word can become.
type Candidate struct {
	Text string
	Help string // one line; may be empty
}

// Sources know the values that a model does not have, by the placeholder of a flag or argument, and by its type. They are told the
// flags that are on the command line.
type Sources func(value *kong.Value, placeholder string, flags map[string]string) []Candidate

// Words returns what the last of the words of a command line can become.
func Words(program *kong.Application, words []string, sources Sources) (matching []Candidate) {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	at := line{node: program.Node, flags: make(map[string]string)}
	for _, word := range words[:len(words)-1] {
		at.read(word)
	}
	for _, c := range at.candidates(last, sources) {
		if strings.HasPrefix(c.Text, last) || c.Text == Files {
			matching = append(matching, c)
		}
	}
	return matching
}

// line is a command line as far as it was read.
type line struct {
	node    *kong.Node
	pending *kong.Flag // its value comes next
	operand int        // arguments so far
	only    bool       // no flags come any more
	flags   map[string]string
}

func (l *line) read(word string) {
	name, value, valued := strings.Cut(word, "=")
	flag := l.flag(name)
	switch {
	case l.pending != nil:
		l.flags[l.pending.Name] = word
		l.pending = nil
	case l.only:
		l.operand++
	case word == "--":
		l.only = true
	case flag != nil && valued:
		l.flags[flag.Name] = value
	case flag != nil && !flag.IsBool():
		l.pending = flag
	case strings.HasPrefix(word, "-"):
	default:
		if command := child(l.node, word); command != nil {
			l.node = command
			return
		}
		l.operand++
	}
}

func child(node *kong.Node, name string) *kong.Node {
	for _, c := range node.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// known are the flags of the command and of the program.
func (l *line) known() []*kong.Flag {
	return slices.Concat(append(l.node.AllFlags(true), nil)...)
}

func (l *line) flag(word string) *kong.Flag {
	for _, flag := range l.known() {
		if word == "--"+flag.Name || flag.Short != 0 && word == "-"+string(flag.Short) {
			return flag
		}
	}
	return nil
}

func (l *line) candidates(last string, sources Sources) (all []Candidate) {
	if name, _, valued := strings.Cut(last, "="); valued && l.pending == nil && !l.only {
		if flag := l.flag(name); flag != nil {
			for _, c := range l.values(flag.Value, flag.PlaceHolder, sources) {
				if c.Text != Files {
					c.Text = name + "=" + c.Text
				}
				all = append(all, c)
			}
			return all
		}
	}
	switch {
	case l.pending != nil:
		return l.values(l.pending.Value, l.pending.PlaceHolder, sources)
	case strings.HasPrefix(last, "-") && !l.only:
		for _, flag := range l.known() {
			all = append(all, Candidate{"--" + flag.Name, flag.Help})
			if flag.Tag.Negatable != "" {
				all = append(all, Candidate{"--no-" + flag.Name, flag.Help})
			}
		}
		return all
	case len(l.node.Positional) > 0:
		argument := l.node.Positional[min(l.operand, len(l.node.Positional)-1)]
		if l.operand >= len(l.node.Positional) && !argument.IsCumulative() {
			return nil
		}
		return l.values(argument, argument.Tag.PlaceHolder, sources)
	}
	for _, command := range l.node.Children {
		if !command.Hidden {
			all = append(all, Candidate{command.Name, command.Help})
		}
	}
	return all
}

// values returns what a flag or an argument can be.
func (l *line) values(v *kong.Value, placeholder string, sources Sources) (all []Candidate) {
	choices := v.EnumSlice()
	if strings.Contains(placeholder, "|") {
		choices = strings.Split(placeholder, "|")
	}
	for _, choice := range choices {
		if choice != "" && strings.ToLower(choice) == choice { // capitals stand for something else
			all = append(all, Candidate{Text: choice})
		}
	}
	if all != nil {
		return all
	}
	if placeholder == "FILE" || placeholder == "PATH" {
		return []Candidate{{Text: Files}}
	}
	return sources(v, placeholder, l.flags)
}

//go:embed completion.bash completion.zsh completion.fish
var scripts embed.FS

// Shells are those that there is a script for.
const Shells = "bash,zsh,fish"

// Script is what has a shell complete the words of a program. It runs the program's hidden command "complete".
func Script(shell, program string) (string, error) {
	text, err := scripts.ReadFile("completion." + shell)
	if err != nil {
		return "", fmt.Errorf("%q is not one of the shells %s", shell, Shells)
	}
	return strings.NewReplacer("PROGRAM", program, "FUNCTION", "_"+strings.ReplaceAll(program, "-", "_")).Replace(string(text)), nil
}
