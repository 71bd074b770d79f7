package manual

import (
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Page is the manual page of a program, in the language of man(7).
type Page struct {
	Program *kong.Application
	Version string
	Date    time.Time // of the sources
}

// Section is that of all pages: commands of the system administrator.
const Section = 8

// String is the text of the page.
func (p Page) String() string {
	var out roff
	name := p.Program.Name
	// The date keeps its dashes, or mandoc does not recognise it.
	out.raw(fmt.Sprintf(".TH %s %d %s \"%s\" \"Teredo suite\"\n", escape(strings.ToUpper(name)), Section, p.Date.Format(time.DateOnly), escape(p.Version)))
	out.raw(".nh\n.ad l\n")
	out.macro("SH", "NAME")
	// The description starts with the name in words, and a colon.
	words, _, _ := strings.Cut(p.Program.Help, ": ")
	out.text(name + " - " + words)
	out.macro("SH", "SYNOPSIS")
	for i, command := range commands(p.Program.Node) {
		if i > 0 {
			out.raw(".br\n")
		}
		out.text(command.FullPath() + strings.TrimPrefix(command.Summary(), command.Path()))
	}
	out.macro("SH", "DESCRIPTION")
	out.text(p.Program.Help)
	out.macro("SH", "COMMANDS")
	for _, command := range commands(p.Program.Node) {
		out.command(command)
	}
	out.macro("SH", "OPTIONS OF EVERY COMMAND")
	for _, flag := range p.Program.Flags {
		out.flag(flag)
	}
	out.raw(ends)
	out.raw(strings.NewReplacer("NAME", escape(name), "ROLE", strings.TrimPrefix(name, "teredo-")).Replace(files))
	out.macro("SH", "SEE ALSO")
	var others []string
	for _, other := range []string{"teredo-client", "teredo-relay", "teredo-server"} {
		if other != name {
			others = append(others, fmt.Sprintf("\\fB%s\\fR(%d)", escape(other), Section))
		}
	}
	out.raw(strings.Join(others, ",\n") + "\n")
	return out.String()
}

const ends = `.SH EXIT STATUS
.TP
.B 0
The program did its task, or was told to stop.
.TP
.B 1
The program failed while running.
.TP
.B 3
.B status
only: the client is offline.
.TP
.B 64
Usage or configuration is wrong. The message says what to write instead.
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
The program stops, and removes its interface, addresses and routes.
A second signal kills it.
.TP
.B SIGHUP
The program reads its configuration file and its secrets again.
`

const files = `.SH FILES
.TP
.I /etc/teredo/ROLE.toml
Configuration of the systemd unit NAME.service. Each key is a flag of
.B run
without its dashes.
.TP
.I /etc/teredo/ROLE.toml.sample
Every key with its default.
.TP
.I /run/NAME/ROLE.sock
Control socket.
.TP
.I /var/lib/NAME
What the unit saves for its next start.
`

// commands are the commands of a program that help shows.
func commands(program *kong.Node) (shown []*kong.Node) {
	for _, command := range program.Children {
		if !command.Hidden {
			shown = append(shown, command)
		}
	}
	return shown
}

// roff is a text in the language of man(7).
type roff struct{ strings.Builder }

func (r *roff) raw(s string) { r.WriteString(s) }

// macro calls a macro with these words, each in quotes.
func (r *roff) macro(name string, words ...string) {
	r.raw("." + name)
	for _, word := range words {
		r.raw(` "` + escape(word) + `"`)
	}
	r.raw("\n")
}

// line is a line of its own where lines are not filled, and else part of a paragraph.
func (r *roff) line(s string) { r.raw(escape(s) + "\n") }

// text is a paragraph. Its lines in the source are short, as mandoc -Tlint wants them.
func (r *roff) text(s string) {
	const widest = 72
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && len(escape(line+word)) > widest {
			r.line(line)
			line = ""
		}
		line += word + " "
	}
	r.line(line)
}

// command describes a command, its arguments and its flags.
func (r *roff) command(command *kong.Node) {
	r.macro("SS", command.Summary())
	r.text(command.Help)
	for _, paragraph := range strings.Split(command.Detail, "\n\n") {
		switch {
		case paragraph == "":
		case strings.HasPrefix(paragraph, "    "):
			r.raw(".PP\n.RS 4\n.nf\n")
			for line := range strings.SplitSeq(paragraph, "\n") {
				r.line(strings.TrimPrefix(line, "    "))
			}
			r.raw(".fi\n.RE\n")
		default:
			r.raw(".PP\n")
			r.text(strings.ReplaceAll(paragraph, "\n", " "))
		}
	}
	for _, argument := range command.Positional {
		r.raw(".TP\n")
		r.macro("I", argument.Summary())
		r.text(argument.Help)
	}
	for _, flag := range command.Flags {
		if !flag.Hidden {
			r.flag(flag)
		}
	}
}

func (r *roff) flag(flag *kong.Flag) {
	name := flag.String()
	if flag.Tag.Negatable != "" {
		name = strings.Replace(name, "--", "--[no-]", 1)
	}
	r.raw(".TP\n")
	r.macro("B", name)
	r.text(flag.Help)
}

// escape has a text mean itself: no dash becomes a hyphen, and no line is a request. A list without spaces may be broken.
func escape(s string) string {
	s = special.Replace(strings.TrimSuffix(s, " "))
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

var special = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `"`, `\(dq`, `…`, `...`, `'`, `\(aq`, `§`, `\(sc`, `, `, `, `, `,`, `,\:`)
