// SPDX-License-Identifier: Apache-2.0

package archtest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"weir/internal/archtest"
)

// repository is the module's root, seen from here.
const repository = "../.."

func TestRepository(t *testing.T) {
	packages, err := archtest.Load(os.DirFS(repository))
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 5 {
		t.Fatalf("found %d packages only", len(packages))
	}
	for _, line := range archtest.Check(packages, archtest.Weir()) {
		t.Error(line)
	}
}

func TestArchitecturePageNamesEveryPackage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	packages, err := archtest.Load(os.DirFS(repository))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		if !strings.Contains(string(page), "`"+p.Path+"`") {
			t.Errorf("ARCHITECTURE.md does not mention `%s`", p.Path)
		}
	}
}

func TestTableHasNoCycle(t *testing.T) {
	rules := archtest.Weir()
	var visit func(p string, trail []string)
	visit = func(p string, trail []string) {
		if slices.Contains(trail, p) {
			t.Fatalf("cycle: %v", append(trail, p))
		}
		for _, next := range rules.Imports[p] {
			if _, ok := rules.Imports[next]; !ok {
				t.Errorf("%s may import %s, which is not in the table", p, next)
			}
			visit(next, append(slices.Clone(trail), p))
		}
	}
	for p := range rules.Imports {
		visit(p, nil)
	}
}

// good returns the files of a tree without violations.
func good() map[string]string {
	const spdx = "// SPDX-License-Identifier: Apache-2.0\n\n"
	return map[string]string{
		"internal/flow/flow.go":       spdx + "// Package flow holds nouns.\npackage flow\n",
		"capture/capture.go":          spdx + "// Package capture reads.\npackage capture\n\nimport _ \"embed\"\n",
		"capture/decode.go":           spdx + "package capture\n\nimport \"weir/internal/flow\"\n\nvar Zero flow.Time\n",
		"capture/capture_test.go":     spdx + "package capture_test\n\nimport (\n\t\"weir/capture\"\n\t\"weir/internal/traffic\"\n)\n",
		"internal/sensor/sensor.go":   spdx + "// Package sensor is the pipeline.\npackage sensor\n\nimport \"weir/capture\"\n",
		"internal/traffic/traffic.go": spdx + "// Package traffic writes captures.\npackage traffic\n",
		"cmd/sensor/main.go": spdx + "// Command sensor reads packets.\npackage main\n\nimport \"os\"\n\n" +
			"func main() { os.Exit(0) }\n",
		"cmd/sensor/testdata/bad.go": "not Go at all",
	}
}

func TestCheck(t *testing.T) {
	const spdx = "// SPDX-License-Identifier: Apache-2.0\n\n"
	for _, tc := range []struct {
		name   string
		file   string
		source string
		want   []string
	}{
		{name: "nothing planted"},
		{
			"import goes sideways", "capture/x.go", spdx + "package capture\n\nimport _ \"embed\"\nimport \"weir/flowtable\"\n",
			[]string{"capture/x.go: imports flowtable, which its row in the table does not allow"},
		},
		{
			"import goes up", "internal/flow/x.go", spdx + "package flow\n\nimport \"weir/capture\"\n",
			[]string{"internal/flow/x.go: imports capture, which its row in the table does not allow"},
		},
		{
			"a test goes sideways", "capture/x_test.go", spdx + "package capture\n\nimport \"weir/flowtable\"\n",
			[]string{"capture/x_test.go: imports flowtable, which its row in the table does not allow"},
		},
		{
			"a test reaches further down", "internal/sensor/x_test.go",
			spdx + "package sensor\n\nimport \"weir/internal/filter\"\n", nil,
		},
		{
			"package without a row", "surprise/surprise.go", spdx + "// Package surprise is new.\npackage surprise\n",
			[]string{"surprise: package is not in the table of archtest"},
		},
		{
			"gopacket elsewhere", "flowtable/flowtable.go",
			spdx + "// Package flowtable tracks.\npackage flowtable\n\nimport \"github.com/google/gopacket/layers\"\n",
			[]string{
				"flowtable/flowtable.go: imports github.com/google/gopacket/layers, but may import the standard library only",
				"flowtable/flowtable.go: imports github.com/google/gopacket/layers, which is for capture only",
			},
		},
		{
			"gopacket in a test", "internal/sensor/x_test.go",
			spdx + "package sensor\n\nimport \"github.com/google/gopacket\"\n",
			[]string{"internal/sensor/x_test.go: imports github.com/google/gopacket, which is for capture only"},
		},
		{
			"metrics module outside telemetry", "capture/x.go",
			spdx + "package capture\n\nimport \"github.com/prometheus/client_golang/prometheus\"\n",
			[]string{"capture/x.go: imports github.com/prometheus/client_golang/prometheus, which is for internal/telemetry only"},
		},
		{
			"foreign module in flow", "internal/flow/x.go", spdx + "package flow\n\nimport \"github.com/zeebo/xxh3\"\n",
			[]string{"internal/flow/x.go: imports github.com/zeebo/xxh3, but may import the standard library only"},
		},
		{
			"query engine in the sensor", "cmd/sensor/x.go", spdx + "package main\n\nimport \"weir/store/lakequery\"\n",
			[]string{"cmd/sensor/x.go: imports store/lakequery, which its row in the table does not allow"},
		},
		{
			"init", "capture/x.go", spdx + "package capture\n\nfunc init() {}\n",
			[]string{"capture/x.go: has an init function"},
		},
		{
			"method named init", "capture/x.go", spdx + "package capture\n\ntype x int\n\nfunc (x) init() {}\n", nil,
		},
		{
			"registration", "capture/x.go", spdx + "package capture\n\nimport _ \"image/png\"\n",
			[]string{`capture/x.go: blank import of "image/png"`},
		},
		{
			"variable changes", "capture/x.go", spdx + "package capture\n\nvar n [2]int\n\nfunc f() { n[0]++; n[1] = 3; g(&n) }\n",
			[]string{
				"capture/x.go: f changes the package's variable n",
				"capture/x.go: f changes the package's variable n",
				"capture/x.go: f changes the package's variable n",
			},
		},
		{
			"variable is shadowed", "capture/x.go",
			spdx + "package capture\n\nvar n int\n\nfunc f() { n := 0; n++ }\n\nfunc g(n int) { n = 1 }\n", nil,
		},
		{
			"variable for counting", "capture/x.go",
			spdx + "package capture\n\nimport \"sync/atomic\"\n\nvar n atomic.Int64\n\nfunc f() { n.Add(1) }\n",
			[]string{"capture/x.go: the package's variable n is there to change"},
		},
		{
			"exit outside of main", "capture/x.go",
			spdx + "package capture\n\nimport (\n\t\"log\"\n\t\"os\"\n)\n\nfunc f() { log.Fatalf(\"x\"); os.Exit(1) }\n",
			[]string{"capture/x.go: log.Fatalf outside of main", "capture/x.go: os.Exit outside of main"},
		},
		{
			"time of day", "dissect/dissect.go",
			spdx + "// Package dissect parses.\npackage dissect\n\nimport \"time\"\n\nfunc f() time.Time { return time.Now() }\n",
			[]string{"dissect/dissect.go: time.Now in the packet path, where time is the packets'"},
		},
		{
			"no license line", "capture/x.go", "package capture\n",
			[]string{`capture/x.go: does not begin with "// SPDX-License-Identifier: Apache-2.0"`},
		},
		{
			"no package comment", "store/store.go", spdx + "package store\n",
			[]string{"store: has 0 package comments, want 1, in store.go"},
		},
		{
			"two package comments", "capture/x.go", spdx + "// Package capture reads.\npackage capture\n",
			[]string{"capture: has 2 package comments, want 1, in capture.go"},
		},
		{
			"package comment elsewhere", "store/doc.go", spdx + "// Package store is a contract.\npackage store\n",
			[]string{"store/doc.go: has the package comment, which belongs into store.go"},
		},
		{
			"package comment of another package", "store/store.go", spdx + "// Package shop is a contract.\npackage store\n",
			[]string{`store/store.go: the package comment does not begin with "Package store "`},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for name, source := range good() {
				tree[name] = &fstest.MapFile{Data: []byte(source)}
			}
			if tc.file != "" {
				tree[tc.file] = &fstest.MapFile{Data: []byte(tc.source)}
			}
			packages, err := archtest.Load(tree)
			if err != nil {
				t.Fatal(err)
			}
			got := archtest.Check(packages, archtest.Weir())
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Check of a tree with %s (-want +got):\n%s", tc.file, diff)
			}
		})
	}
}

func TestLoadReportsSyntaxErrors(t *testing.T) {
	tree := fstest.MapFS{"capture/capture.go": {Data: []byte("package capture\n\nfunc {")}}
	if _, err := archtest.Load(tree); err == nil {
		t.Error("Load of a file that does not parse = nil, want an error")
	}
}
