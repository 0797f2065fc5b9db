// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// noPackages imports every package as an empty one.
type noPackages struct{}

func (noPackages) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	p.MarkComplete()
	return p, nil
}

// calls returns which functions of the package mention which others, and the
// file in which each is declared.
func calls(t *testing.T) (mentions map[string][]string, files map[string]string) {
	t.Helper()
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var parsed []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object)}
	// What other packages declare is unknown; what this one does is known.
	config := types.Config{Importer: noPackages{}, Error: func(error) {}}
	pkg, _ := config.Check("filter", fset, parsed, info)
	full := func(f *types.Func) string { return strings.ReplaceAll(f.FullName(), "filter.", "") }
	mentions, files = make(map[string][]string), make(map[string]string)
	for _, f := range parsed {
		for _, d := range f.Decls {
			fd, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			own, ok := info.Defs[fd.Name].(*types.Func)
			if !ok {
				t.Fatalf("no function %s", fd.Name.Name)
			}
			files[full(own)] = fset.Position(fd.Pos()).Filename
			ast.Inspect(fd, func(n ast.Node) bool {
				id, ok := n.(*ast.Ident)
				if !ok {
					return true
				}
				used, ok := info.Uses[id].(*types.Func)
				if ok && used.Pkg() == pkg && used != own {
					mentions[full(own)] = append(mentions[full(own)], full(used.Origin()))
				}
				return true
			})
		}
	}
	return mentions, files
}

// TestEvaluatorSharesNothing checks that the evaluator, which says what stores
// must answer, and the compilers have no function in common but those that say
// what the tree of a filter is.
func TestEvaluatorSharesNothing(t *testing.T) {
	mentions, files := calls(t)
	reach := func(prefix string) map[string]bool {
		seen := make(map[string]bool)
		var visit func(name string)
		visit = func(name string) {
			// What a compiler cannot translate it prints, for the error.
			if seen[name] || name == "(*compiler).unsupported" || name == "(*graph).asked" {
				return
			}
			seen[name] = true
			for _, next := range mentions[name] {
				visit(next)
			}
		}
		for name, file := range files {
			if strings.HasPrefix(file, prefix) {
				visit(name)
			}
		}
		return seen
	}
	evaluator, compiler := reach("match"), reach("sql")
	graph := reach("cypher")
	for _, name := range []string{"(*clause).match", "(*pattern).matches", "order", "(*value).print"} {
		if !evaluator[name] {
			t.Errorf("%s is not part of the evaluator", name)
		}
	}
	for _, name := range []string{"(*compiler).clause", "pushNot", "(*value).arg", "spansIPv4"} {
		if !compiler[name] {
			t.Errorf("%s is not part of the compiler", name)
		}
	}
	for _, name := range []string{"(*graph).clause", "pushNot", "(*value).cypher", "(*graph).pattern"} {
		if !graph[name] {
			t.Errorf("%s is not part of the compiler for Neo4j", name)
		}
	}
	for name := range graph {
		compiler[name] = true
	}
	var common []string
	for name := range evaluator {
		if compiler[name] {
			common = append(common, name)
		}
	}
	slices.Sort(common)
	want := []string{"(*field).bareAddr", "(metaAttr).info", "(operator).negative", "(operator).positive"}
	if diff := cmp.Diff(want, common); diff != "" {
		t.Errorf("functions of the evaluator and the compiler (-want +got):\n%s", diff)
	}
	for name, file := range files {
		if strings.HasPrefix(file, "match") && compiler[name] || (strings.HasPrefix(file, "sql") || strings.HasPrefix(file, "cypher")) && evaluator[name] {
			t.Errorf("%s of %s belongs to both", name, file)
		}
	}
}
