package conformance

import (
	"go/ast"
	"path"
	"strings"
	"testing"
)

// Programs outside of this module can name all that the exported declarations of a library are made of. An alias gives a type of an
// internal package such a name.
func TestLibrariesNameNothingInternal(t *testing.T) {
	for _, s := range readSources(t) {
		if s.folder != "tunnel" && s.folder != "teredo" && s.folder != "qualify" && s.folder != "teredonet" {
			continue
		}
		internal := make(map[string]bool)
		for _, p := range s.imports() {
			internal[path.Base(p)] = strings.HasPrefix(p, module+"internal/")
		}
		for _, d := range s.syntax.Decls {
			for _, n := range exported(d) {
				ast.Inspect(n, func(n ast.Node) bool {
					if sel, ok := n.(*ast.SelectorExpr); ok {
						if x, ok := sel.X.(*ast.Ident); ok && internal[x.Name] {
							t.Errorf("%v: %s.%s is internal", s.at(sel), x.Name, sel.Sel.Name)
						}
					}
					return true
				})
			}
		}
	}
}

// exported returns the types in a declaration that others see.
func exported(d ast.Decl) (types []ast.Node) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
			types = append(types, d.Type)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			ts, ok := spec.(*ast.TypeSpec)
			if !ok || !ts.Name.IsExported() || ts.Assign.IsValid() {
				continue
			}
			fields, ok := ts.Type.(*ast.StructType)
			if !ok {
				types = append(types, ts.Type)
				continue
			}
			for _, f := range fields.Fields.List {
				if len(f.Names) == 0 || f.Names[0].IsExported() {
					types = append(types, f.Type)
				}
			}
		}
	}
	return types
}

// receiver is the name of a method's type.
func receiver(d *ast.FuncDecl) string {
	e := d.Recv.List[0].Type
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if index, ok := e.(*ast.IndexExpr); ok {
		e = index.X
	}
	return e.(*ast.Ident).Name
}
