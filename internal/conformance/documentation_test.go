package conformance

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/proxy"
)

// docs/status.md explains each reason for a drop that status can show, and no other.
func TestDropReasons(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "docs/status.md"), "\n## Drop reasons\n")
	explained := explainedIn(table)
	var want []string
	for r := drop.None + 1; r.String() != "unknown"; r++ {
		want = append(want, r.String())
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, explained); diff != "" {
		t.Errorf("docs/status.md (-code +documentation):\n%s", diff)
	}
}

// docs/status.md explains each field that status and peers can show, and no other.
func TestStatusFields(t *testing.T) {
	var want []string
	for _, s := range readSources(t) {
		if s.in("cmd", "tunnel", "internal/server", "internal/peer", "internal/proxy", "internal/announce") {
			want = append(want, s.statusFields()...)
		}
	}
	slices.Sort(want)
	fields, _, _ := strings.Cut(read(t, "docs/status.md"), "\n## Drop reasons\n")
	if diff := cmp.Diff(slices.Compact(want), explainedIn(fields)); diff != "" {
		t.Errorf("docs/status.md (-code +documentation):\n%s", diff)
	}
}

// docs/proxy.md explains each reason for which the proxy refuses something, and no other.
func TestRefusals(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "docs/proxy.md"), "\n## Refusals\n")
	want := proxy.Reasons()
	slices.Sort(want)
	if diff := cmp.Diff(want, explainedIn(section)); diff != "" {
		t.Errorf("docs/proxy.md (-code +documentation):\n%s", diff)
	}
}

// explainedIn returns what the tables of a text explain: the parts of their first cells, sorted, each once.
func explainedIn(text string) (labels []string) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		head := i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|---")
		cells := strings.Split(line, "|")
		if head || len(cells) < 4 || strings.HasPrefix(line, "|---") {
			continue
		}
		for label := range strings.SplitSeq(cells[1], ",") {
			labels = append(labels, strings.TrimSpace(label))
		}
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// statusFields returns the fields that the file's structs for status and peers have, as Print of internal/cli names them: with
// spaces for underscores, and without the unit.
func (s source) statusFields() (names []string) {
	structs := []string{"status", "Status", "ClientStatus", "RelayStatus", "Offloads", "Counters", "Counts", "Budgets", "Paths", "Traffic", "Carrier", "Info"}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			return slices.Contains(structs, spec.Name.Name)
		}
		field, ok := n.(*ast.Field)
		if !ok || field.Tag == nil {
			return true
		}
		text, _ := strconv.Unquote(field.Tag.Value) // the parser has checked it
		name, _, _ := strings.Cut(reflect.StructTag(text).Get("json"), ",")
		for _, unit := range []string{"_ms", "_seconds", "_seconds_ago"} {
			name = strings.TrimSuffix(name, unit)
		}
		if name != "" && name != "-" {
			names = append(names, strings.ReplaceAll(name, "_", " "))
		}
		return true
	})
	return names
}

// docs/architecture.md lists each package with what it imports, but for the standard library, golang.org/x and the programs
// below integration.
func TestArchitectureTable(t *testing.T) {
	want := make(map[string][]string)
	for _, s := range readSources(t) {
		if s.in("integration") && !s.in("integration/natsim") {
			continue
		}
		if _, ok := want[s.folder]; !ok {
			want[s.folder] = []string{}
		}
		for _, p := range s.imports() {
			if p = listed(p); p != "" && !slices.Contains(want[s.folder], p) {
				want[s.folder] = append(want[s.folder], p)
			}
		}
	}
	got := make(map[string][]string)
	for _, line := range strings.Split(read(t, "docs/architecture.md"), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[1], " `") || cells[1] == " `integration` " || cells[1] == " `internal/conformance` " {
			continue
		}
		imports := []string{}
		for _, name := range strings.Split(cells[3], ",") {
			if name = strings.Trim(name, " `"); name != "" {
				imports = append(imports, name)
			}
		}
		got[strings.Trim(cells[1], " `")] = imports
	}
	sorted := cmpopts.SortSlices(strings.Compare)
	if diff := cmp.Diff(want, got, sorted); diff != "" {
		t.Errorf("docs/architecture.md (-code +documentation):\n%s", diff)
	}
}

// listed is how the table of docs/architecture.md writes an import; it is empty for one that the table leaves out.
func listed(path string) string {
	if folder, ours := strings.CutPrefix(path, module); ours {
		return folder
	}
	parts := strings.Split(path, "/")
	switch {
	case !strings.Contains(parts[0], "."), strings.HasPrefix(path, "golang.org/x/"):
		return ""
	case parts[0] == "github.com":
		return parts[1] + "/" + parts[2]
	case parts[0] == "gvisor.dev":
		return parts[0]
	case len(parts) > 2:
		return strings.Join(parts[len(parts)-2:], "/")
	}
	return path
}

// flagPattern finds flags in a documentation's code.
var flagPattern = regexp.MustCompile(`(?:^|[\s([])--([a-z][a-z0-9-]*)`)

// Flags that documentation names, one of the programs has; a flag of another program stands here.
func TestFlagsInDocumentation(t *testing.T) {
	known := []string{"help", "now", "allow-untrusted"}                                                                            // of systemctl and apk
	known = append(known, "rm", "user", "device", "cap-drop", "cap-add", "sysctl", "security-opt", "read-only", "tmpfs", "volume") // of podman and docker
	for _, s := range readSources(t) {
		if s.in("cmd", "internal/cli") {
			known = append(known, s.flags()...)
		}
	}
	for _, name := range find(t, ".md") {
		for _, code := range codePattern.FindAllString(read(t, name), -1) {
			for _, match := range flagPattern.FindAllStringSubmatch(strings.Trim(code, "`"), -1) {
				flag := strings.TrimPrefix(match[1], "no-")
				if !slices.Contains(known, flag) && !slices.Contains(known, match[1]) {
					t.Errorf("%s: no program has the flag --%s", name, match[1])
				}
			}
		}
	}
}

// codePattern finds blocks and spans of code.
var codePattern = regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")

// flags returns the names of flags that the structs of a file define for kong, each of which must have a help text.
func (s source) flags() (names []string) {
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		field, ok := n.(*ast.Field)
		if !ok || field.Tag == nil {
			return true
		}
		text, _ := strconv.Unquote(field.Tag.Value) // the parser has checked it
		tag := reflect.StructTag(text)
		if _, ok := tag.Lookup("help"); !ok {
			return true
		}
		for _, name := range field.Names {
			if given := tag.Get("name"); given != "" {
				names = append(names, given)
			} else {
				names = append(names, kebab(name.Name))
			}
		}
		return true
	})
	return names
}

// kebab makes a flag's name of a field's name, as kong does: LogLevel is log-level, JSON is json.
func kebab(name string) string {
	return strings.ToLower(regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(name, "$1-$2"))
}

// Every flag has a help text that says what it does.
func TestFlagsHaveHelp(t *testing.T) {
	for _, s := range readSources(t) {
		if !s.in("cmd", "internal/cli") {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok || field.Tag == nil || len(field.Names) == 0 {
				return true
			}
			text, _ := strconv.Unquote(field.Tag.Value)
			tag := reflect.StructTag(text)
			_, isCommand := tag.Lookup("cmd")
			for _, key := range []string{"placeholder", "default", "negatable", "required"} {
				if _, isFlag := tag.Lookup(key); isFlag && !isCommand && tag.Get("help") == "" {
					t.Errorf("%v: flag %s has no help text", s.at(field), field.Names[0].Name)
				}
			}
			return true
		})
	}
}

// Links in documentation lead to files that are there, and to headings that these have.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	for _, name := range find(t, ".md") {
		for _, match := range link.FindAllStringSubmatch(read(t, name), -1) {
			target := name
			if match[1] != "" {
				target = path.Join(path.Dir(name), match[1])
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if match[2] != "" && !slices.Contains(anchors(read(t, target)), match[2]) {
				t.Errorf("%s: %s has no heading #%s", name, target, match[2])
			}
		}
	}
}

// anchors returns the anchors of a document's headings, as GitHub makes them.
func anchors(text string) (names []string) {
	text = regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(text, "")
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// CHANGELOG.md says what each version brings.
func TestChangelog(t *testing.T) {
	if !strings.Contains(read(t, "CHANGELOG.md"), "\n## ") {
		t.Error("CHANGELOG.md tells of no version")
	}
}
