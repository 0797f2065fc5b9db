// SPDX-License-Identifier: Apache-2.0

// Package archtest checks rules of this repository that the compiler does not
// know: which package may import which, and what no package does. Its test runs
// them over the whole tree.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// module is the path that imports of our own packages begin with.
const module = "weir"

// header is the first line of every Go file.
const header = "// SPDX-License-Identifier: Apache-2.0"

// Package is one directory with Go files.
type Package struct {
	// Path is the directory relative to the module, "internal/flow".
	Path  string
	Files []File
}

// File is one parsed Go file.
type File struct {
	Name string // without directory
	Test bool
	// Header is the file's first line.
	Header string
	AST    *ast.File
	Set    *token.FileSet
}

// NewFile parses a Go file.
func NewFile(name, source string) (File, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, name, source, parser.ParseComments)
	if err != nil {
		return File{}, fmt.Errorf("parse: %w", err)
	}
	first, _, _ := strings.Cut(source, "\n")
	return File{
		Name: path.Base(name), Test: strings.HasSuffix(name, "_test.go"),
		Header: first, AST: tree, Set: set,
	}, nil
}

// Load parses every package below the module's root.
func Load(root fs.FS) ([]Package, error) {
	byPath := map[string]*Package{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != "." && (base == "testdata" || base == "node_modules" || base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(base) != ".go" {
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := NewFile(name, string(source))
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		if byPath[dir] == nil {
			byPath[dir] = &Package{Path: dir}
		}
		byPath[dir].Files = append(byPath[dir].Files, file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tree: %w", err)
	}
	packages := make([]Package, 0, len(byPath))
	for _, p := range byPath {
		packages = append(packages, *p)
	}
	slices.SortFunc(packages, func(a, b Package) int { return strings.Compare(a.Path, b.Path) })
	return packages, nil
}

// Check returns every violation in the packages, one line each.
func Check(packages []Package, rules *Rules) []string {
	c := checker{rules: rules}
	for i := range packages {
		c.pkg = &packages[i]
		c.checkImports()
		c.checkDoc()
		c.checkCode()
	}
	return c.found
}

type checker struct {
	rules *Rules
	pkg   *Package
	found []string
}

func (c *checker) report(f *File, format string, args ...any) {
	where := c.pkg.Path
	if f != nil {
		where = path.Join(where, f.Name)
	}
	c.found = append(c.found, where+": "+fmt.Sprintf(format, args...))
}

// checkImports compares imports with the tables.
func (c *checker) checkImports() {
	allowed, known := c.rules.Imports[c.pkg.Path]
	if !known {
		c.report(nil, "package is not in the table of archtest")
	}
	for i := range c.pkg.Files {
		f := &c.pkg.Files[i]
		for _, spec := range f.AST.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				c.report(f, "import %s cannot be read", spec.Path.Value)
				continue
			}
			ours, isOurs := strings.CutPrefix(name, module+"/")
			switch {
			case isOurs:
				ok := slices.Contains(allowed, ours) || ours == c.pkg.Path
				if f.Test {
					ok = ok || c.reachable(ours) || slices.Contains(c.rules.TestSupport, ours)
				}
				if known && !ok {
					c.report(f, "imports %s, which its row in the table does not allow", ours)
				}
			case strings.Contains(strings.Split(name, "/")[0], "."):
				c.checkModule(f, name)
			}
		}
	}
}

// reachable reports whether the package may import another one, directly or
// through those it may import: what its tests may use, too.
func (c *checker) reachable(target string) bool {
	seen := map[string]bool{}
	queue := []string{c.pkg.Path}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if seen[p] {
			continue
		}
		seen[p] = true
		queue = append(queue, c.rules.Imports[p]...)
	}
	return seen[target]
}

// checkModule compares the import of a foreign package with the table.
func (c *checker) checkModule(f *File, name string) {
	if slices.Contains(c.rules.StandardOnly, c.pkg.Path) && !f.Test {
		c.report(f, "imports %s, but may import the standard library only", name)
	}
	for prefix, users := range c.rules.Modules {
		if name != prefix && !strings.HasPrefix(name, prefix+"/") {
			continue
		}
		if !slices.Contains(users.Packages, c.pkg.Path) && !(f.Test && users.Tests) {
			c.report(f, "imports %s, which is for %s only", name, strings.Join(users.Packages, ", "))
		}
	}
}

// checkDoc wants one package comment, in the file named like the package.
func (c *checker) checkDoc() {
	var documented []*File
	name := ""
	for i := range c.pkg.Files {
		f := &c.pkg.Files[i]
		if f.Header != header {
			c.report(f, "does not begin with %q", header)
		}
		if f.Test {
			continue
		}
		name = f.AST.Name.Name
		if f.AST.Doc != nil {
			documented = append(documented, f)
		}
	}
	if name == "" { // tests only
		return
	}
	file, start := name+".go", "Package "+name+" "
	if name == "main" {
		start = "Command " + path.Base(c.pkg.Path) + " "
	}
	if len(documented) != 1 {
		c.report(nil, "has %d package comments, want 1, in %s", len(documented), file)
		return
	}
	if documented[0].Name != file {
		c.report(documented[0], "has the package comment, which belongs into %s", file)
	}
	if text := documented[0].AST.Doc.Text(); !strings.HasPrefix(text, start) {
		c.report(documented[0], "the package comment does not begin with %q", start)
	}
}

// checkCode looks for what no package does: init functions, blank imports,
// variables that change, and, outside of main, ending the program.
func (c *checker) checkCode() {
	globals := map[string]bool{}
	for i := range c.pkg.Files {
		f := &c.pkg.Files[i]
		if f.Test {
			continue
		}
		for _, decl := range f.AST.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.VAR {
				for _, spec := range d.Specs {
					v := spec.(*ast.ValueSpec)
					for _, id := range v.Names {
						globals[id.Name] = id.Name != "_"
					}
					if p := root(v.Type); v.Type != nil && (p == "sync" || p == "atomic") {
						c.report(f, "the package's variable %s is there to change", v.Names[0].Name)
					}
				}
			}
		}
	}
	for i := range c.pkg.Files {
		f := &c.pkg.Files[i]
		if f.Test {
			continue
		}
		for _, spec := range f.AST.Imports {
			if spec.Name != nil && spec.Name.Name == "_" && spec.Path.Value != `"embed"` {
				c.report(f, "blank import of %s", spec.Path.Value)
			}
		}
		for _, decl := range f.AST.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if d.Recv == nil && d.Name.Name == "init" {
				c.report(f, "has an init function")
			}
			if d.Body != nil {
				c.checkBody(f, d, globals)
			}
		}
	}
}

// checkBody looks at the statements of a function.
func (c *checker) checkBody(f *File, d *ast.FuncDecl, globals map[string]bool) {
	local := localNames(d)
	changes := func(e ast.Expr) {
		if name := root(e); globals[name] && !local[name] {
			c.report(f, "%s changes the package's variable %s", d.Name.Name, name)
		}
	}
	ast.Inspect(d.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					changes(e)
				}
			}
		case *ast.IncDecStmt:
			changes(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				changes(n.X)
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				c.checkCall(f, x.Name+"."+n.Sel.Name)
			}
		}
		return true
	})
}

// checkCall looks at a qualified name.
func (c *checker) checkCall(f *File, name string) {
	if f.AST.Name.Name != "main" && (name == "os.Exit" || strings.HasPrefix(name, "log.Fatal")) {
		c.report(f, "%s outside of main", name)
	}
	for _, p := range c.rules.PacketTime {
		if p == c.pkg.Path && (name == "time.Now" || name == "time.Since") {
			c.report(f, "%s in the packet path, where time is the packets'", name)
		}
	}
}

// localNames returns every name that a function declares anywhere in it.
func localNames(d *ast.FuncDecl) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, id := range n.Names {
				names[id.Name] = true
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					names[root(e)] = true
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				names[root(n.Key)] = true
				names[root(n.Value)] = true
			}
		case *ast.ValueSpec:
			for _, id := range n.Names {
				names[id.Name] = true
			}
		}
		return true
	})
	return names
}

// root returns the variable that an expression selects or indexes into, "" if
// there is none.
func root(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x.Name
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return ""
		}
	}
}
