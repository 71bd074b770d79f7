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

// testFile is what the check of citations needs to know of a file with tests.
type testFile struct {
	tests    map[string]bool // functions at the top level
	literals []string        // values of string literals, which the names of subtests are made of
	ids      map[string]bool // requirements that it names
}

// testFiles are those of the module, by the folder of their package.
type testFiles map[string][]testFile

func readTestFiles(t *testing.T) testFiles {
	t.Helper()
	files := make(testFiles)
	for _, name := range find(t, "_test.go") {
		f, err := parseTestFile(read(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		files[path.Dir(name)] = append(files[path.Dir(name)], f)
	}
	return files
}

func parseTestFile(source string) (testFile, error) {
	syntax, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	if err != nil {
		return testFile{}, err
	}
	f := testFile{tests: make(map[string]bool), ids: identifiers(source)}
	for _, d := range syntax.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && d.Recv == nil {
			f.tests[d.Name.Name] = true
		}
	}
	ast.Inspect(syntax, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if value, err := strconv.Unquote(l.Value); err == nil {
				f.literals = append(f.literals, value)
			}
		}
		return true
	})
	return f, nil
}

// has reports whether the file has the test, and the subtest if one is meant.
func (f testFile) has(c citation) (test, sub bool) {
	if !f.tests[c.test] {
		return false, false
	}
	for _, l := range f.literals {
		sub = sub || strings.Contains(l, c.sub)
	}
	return true, sub || c.sub == ""
}

// fault says what is wrong with a citation of a test that is to show the requirement, if there is one; it is empty when nothing is.
func (files testFiles) fault(c citation, id string) string {
	worst := "there is no such test"
	for _, f := range files[c.pkg] {
		switch test, sub := f.has(c); {
		case !test:
		case !sub:
			worst = "there is no such subtest"
		case id != "" && !f.ids[id]:
			worst = "its file does not name " + id
		default:
			return ""
		}
	}
	return worst
}
