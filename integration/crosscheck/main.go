// Command crosscheck checks the types of this module's packages and of their tests for other systems, each given as GOOS/GOARCH. It
// reads the sources of all that they import, so it compiles nothing: that takes a tenth of the time of a build.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	here, err := os.Getwd()
	if err == nil {
		for _, system := range os.Args[1:] {
			fmt.Println("checking types for", system)
			if err = check(here, system); err != nil {
				break
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "crosscheck:", err)
		os.Exit(1)
	}
}

// check checks the packages below the folder for a system.
func check(folder, system string) error {
	goos, goarch, _ := strings.Cut(system, "/")
	cfg := &packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedDeps |
			packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo,
		Dir: folder, Tests: true,
		Env: append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0"),
		// What others have written needs no check: its declarations are enough.
		ParseFile: func(set *token.FileSet, name string, text []byte) (*ast.File, error) {
			file, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
			if file != nil && !strings.HasPrefix(name, folder+"/") {
				for _, d := range file.Decls {
					if f, ok := d.(*ast.FuncDecl); ok {
						f.Body = nil
					}
				}
			}
			return file, err
		},
	}
	all, err := packages.Load(cfg, "./...")
	if err != nil {
		return err
	}
	wrong := 0
	for _, p := range all {
		if strings.HasSuffix(p.PkgPath, ".test") { // the go command makes it to run tests
			continue
		}
		for _, e := range p.Errors {
			fmt.Fprintln(os.Stderr, e)
			wrong++
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d errors for %s", wrong, system)
	}
	return nil
}
