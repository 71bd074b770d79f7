package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/teredo-suite/teredo/"

// source is a Go file that is not a test, for any operating system.
type source struct {
	name, folder string
	syntax       *ast.File
	positions    *token.FileSet
}

func readSources(t *testing.T) (sources []source) {
	t.Helper()
	for _, name := range find(t, ".go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		s := source{name: name, folder: path.Dir(name), positions: token.NewFileSet()}
		var err error
		if s.syntax, err = parser.ParseFile(s.positions, name, read(t, name), parser.ParseComments|parser.SkipObjectResolution); err != nil {
			t.Fatal(err)
		}
		sources = append(sources, s)
	}
	return sources
}

func (s source) imports() (paths []string) {
	for _, i := range s.syntax.Imports {
		p, _ := strconv.Unquote(i.Path.Value) // the parser has checked it
		paths = append(paths, p)
	}
	return paths
}

// at is where a node is, for a message.
func (s source) at(n ast.Node) token.Position { return s.positions.Position(n.Pos()) }

// is reports whether the file lies in one of the folders or below.
func (s source) in(folders ...string) bool {
	for _, f := range folders {
		if s.folder == f || strings.HasPrefix(s.folder, f+"/") {
			return true
		}
	}
	return false
}

// rules reports whether the file holds rules of the protocol: no I/O and no clock. Of the server it is all but the loop.
func (s source) rules() bool {
	switch s.name {
	case "internal/server/server.go", "internal/server/worker.go", "internal/server/status.go", "internal/server/native_linux.go", "internal/server/native_other.go":
		return false
	case "internal/traffic/history.go", "internal/traffic/summary.go":
		return true
	}
	return s.in("teredo", "qualify", "internal/peer", "internal/server", "internal/announce")
}

// ships reports whether the file ends up in one of the three programs.
func (s source) ships() bool { return !s.in("integration") }

// Imports point downward, as docs/architecture.md draws them.
func TestImports(t *testing.T) {
	for _, s := range readSources(t) {
		for _, p := range s.imports() {
			if folder, ours := strings.CutPrefix(p, module); ours {
				if !s.mayImport(folder) {
					t.Errorf("%s imports %s, against the arrows", s.name, folder)
				}
				continue
			}
			standard := !strings.Contains(strings.Split(p, "/")[0], ".")
			switch {
			case s.in("teredo") && !standard:
				t.Errorf("%s imports %s: it may use the standard library only", s.name, p)
			case s.rules() && doesIO(p):
				t.Errorf("%s imports %s: rules do no I/O", s.name, p)
			case s.ships() && strings.HasPrefix(p, "math/rand"):
				// W-ADDR-02, C-DCT-03, X-SNS-10: random bits that others must not guess come from crypto/rand.
				t.Errorf("%s imports %s: random numbers come from crypto/rand", s.name, p)
			}
		}
	}
}

// mayImport says which packages of the module a file may import.
func (s source) mayImport(folder string) bool {
	rules := folder == "teredo" || folder == "qualify" || folder == "internal/peer" || folder == "internal/server"
	// A leaf does one thing for the others, and knows none of the protocol's rules.
	leaf := strings.HasPrefix(folder, "internal/") && !rules && folder != "internal/conformance" && folder != "internal/client"
	switch {
	case s.in("teredo"):
		return false
	case s.in("qualify"):
		return folder == "teredo"
	case s.in("internal/peer"), s.in("internal/server") && s.rules():
		return folder == "teredo" || folder == "internal/drop" || folder == "internal/budget"
	case s.in("internal/server"):
		return folder == "teredo" || leaf
	case s.in("tunnel"):
		return rules && folder != "internal/server" || leaf
	case s.in("internal/client"):
		return folder == "teredo" || folder == "qualify" || folder == "tunnel" || leaf
	case s.in("teredonet"):
		return folder == "teredo" || folder == "qualify" || folder == "tunnel" || folder == "internal/client" || leaf
	case s.in("integration/natsim"):
		return rules || folder == "tunnel" || leaf
	case s.in("cmd"):
		return rules || folder == "tunnel" || folder == "teredonet" || folder == "internal/client" || folder == "cmd/internal/relay" || leaf
	case s.in("internal/probe"):
		return folder == "teredo" || folder == "qualify" || leaf
	case s.in("internal"):
		return folder == "teredo" || leaf && folder != "internal/probe"
	case s.in("integration"): // it looks at the programs from outside
		return folder == "teredo" || strings.HasPrefix(folder, "integration/")
	}
	return false
}

// doesIO reports whether a package reaches outside the process, or writes logs.
func doesIO(p string) bool {
	switch p {
	case "net/netip", "golang.org/x/time/rate":
		return false
	}
	for _, prefix := range []string{"net", "os", "io", "syscall", "log", "embed", "plugin", "testing", "unsafe"} {
		if p == prefix || strings.HasPrefix(p, prefix+"/") {
			return true
		}
	}
	return strings.Contains(strings.Split(p, "/")[0], ".")
}

// Rules read no clock, start no goroutine and have no memory outside of their machines: all that happens to them comes in
// by their methods.
func TestRulesAreClosed(t *testing.T) {
	for _, s := range readSources(t) {
		if !s.rules() {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%v: rules start no goroutine", s.at(n))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && clock(n.Sel.Name) {
					t.Errorf("%v: rules do not call time.%s, they are told the time", s.at(n), n.Sel.Name)
				}
			}
			return true
		})
		for _, d := range s.syntax.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.VAR {
				s.checkVariables(t, d)
			}
		}
	}
}

// clock reports whether a function of package time reads the clock or waits.
func clock(name string) bool {
	switch name {
	case "Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker":
		return true
	}
	return false
}

// checkVariables allows no package-level variables but errors.
func (s source) checkVariables(t *testing.T, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		for i, name := range v.Names {
			if i >= len(v.Values) || !isCall(v.Values[i], "errors", "New") {
				t.Errorf("%v: variable %s at package level", s.at(name), name.Name)
			}
		}
	}
}

// isCall reports whether an expression calls the function of the package.
func isCall(e ast.Expr, pkg, function string) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := f.X.(*ast.Ident)
	return ok && x.Name == pkg && f.Sel.Name == function
}

// Files have one subject and stay short; nothing happens before main.
func TestFiles(t *testing.T) {
	const most = 500
	for _, name := range find(t, ".go") {
		if lines := strings.Count(read(t, name), "\n"); lines > most {
			t.Errorf("%s has %d lines, more than %d", name, lines, most)
		}
	}
	for _, s := range readSources(t) {
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%v: a function init", s.at(f))
			}
		}
	}
}
