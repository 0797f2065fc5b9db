// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestCounter(t *testing.T) {
	const package1 = `{"Action":"start","Package":"weir/a"}
{"Action":"run","Package":"weir/a","Test":"TestOne"}
{"Action":"output","Package":"weir/a","Test":"TestOne","Output":"=== RUN   TestOne\n"}
{"Action":"pass","Package":"weir/a","Test":"TestOne"}
{"Action":"pass","Package":"weir/a","Test":"TestTwo/x"}
{"Action":"pass","Package":"weir/a","Test":"TestTwo/y"}
{"Action":"pass","Package":"weir/a","Test":"TestTwo"}
{"Action":"output","Package":"weir/a","Test":"TestThree","Output":"    a_test.go:7: needs root\n"}
{"Action":"skip","Package":"weir/a","Test":"TestThree"}
{"Action":"pass","Package":"weir/a","Elapsed":1.5}
`
	const failing = `{"Action":"output","Package":"weir/b","Test":"TestBad","Output":"    b_test.go:9: F(1) = 2, want 3\n"}
{"Action":"fail","Package":"weir/b","Test":"TestBad"}
{"Action":"output","Package":"weir/b","Output":"FAIL\tweir/b\n"}
{"Action":"fail","Package":"weir/b"}
`
	const crashing = `{"Action":"output","Package":"weir/c","Test":"TestCrash","Output":"panic: boom\n"}
{"Action":"fail","Package":"weir/c"}
`
	const unbuilt = `{"ImportPath":"weir/d","Action":"build-output","Output":"d.go:3:1: syntax error\n"}
{"ImportPath":"weir/d","Action":"build-fail"}
{"Action":"output","Package":"weir/d","Output":"FAIL\tweir/d [build failed]\n"}
{"Action":"fail","Package":"weir/d"}
`
	const material = `{"Action":"output","Package":"weir/e","Test":"TestFar","Output":"    e_test.go:7: ../shared is not here\n"}
{"Action":"skip","Package":"weir/e","Test":"TestFar"}
{"Action":"pass","Package":"weir/e"}
`
	for _, tc := range []struct {
		name    string
		strict  bool
		input   string
		good    bool
		printed []string
		absent  []string
	}{
		{
			name: "passing", input: package1, good: true,
			printed: []string{"tests: 3 passed, 0 failed, 1 skipped\n", "weir/a TestThree: a_test.go:7: needs root", "ok    weir/a"},
			absent:  []string{"=== RUN"},
		},
		{
			name: "a skip in strict mode", strict: true, input: package1, good: false,
			printed: []string{"tests: 3 passed, 0 failed, 1 skipped, 1 other failures", "nothing may be skipped"},
		},
		{
			name: "a skip for lack of material in strict mode", strict: true, input: package1[:strings.Index(package1, `{"Action":"output","Package":"weir/a","Test":"TestThree"`)] + `{"Action":"pass","Package":"weir/a"}` + "\n" + material,
			good: true, printed: []string{"tests: 3 passed, 0 failed, 1 skipped\n"},
		},
		{
			name: "failing", input: package1 + failing, good: false,
			printed: []string{"F(1) = 2, want 3", "FAIL\tweir/b", "tests: 3 passed, 1 failed, 1 skipped\n"},
		},
		{
			name: "crashing", input: package1 + crashing, good: false,
			printed: []string{"panic: boom", "tests: 3 passed, 1 failed, 1 skipped\n"},
		},
		{
			name: "not built", input: package1 + unbuilt, good: false,
			printed: []string{"syntax error", "[build failed]", "1 other failures"},
		},
		{name: "nothing", input: "", good: false, printed: []string{"tests: 0 passed"}},
		{
			name: "a line of the go command", input: "go: downloading x v1\n" + package1, good: true,
			printed: []string{"go: downloading x v1\n"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out strings.Builder
			c := counter{out: &out, strict: tc.strict, output: map[string][]string{}}
			if err := c.read(strings.NewReader(tc.input)); err != nil {
				t.Fatal(err)
			}
			c.close()
			if got := c.good(); got != tc.good {
				t.Errorf("good() = %v, want %v\n%s", got, tc.good, out.String())
			}
			for _, want := range tc.printed {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the output does not contain %q:\n%s", want, out.String())
				}
			}
			for _, text := range tc.absent {
				if strings.Contains(out.String(), text) {
					t.Errorf("the output contains %q:\n%s", text, out.String())
				}
			}
		})
	}
}
