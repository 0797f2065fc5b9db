// SPDX-License-Identifier: Apache-2.0

// Package commandtest runs the scripts that test our programs.
package commandtest

import (
	"errors"
	"os/exec"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// Params returns how the scripts in testdata/script are run: in a directory of
// their own, where the default store is. Golden files are rewritten if update
// is set.
func Params(update bool) testscript.Params {
	return testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("WEIR_STORE", env.WorkDir+"/lake")
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"status": status},
	}
}

// status runs a command and checks its exit code: status CODE COMMAND [ARG…].
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		bad := new(exec.ExitError)
		if !errors.As(err, &bad) {
			ts.Fatalf("%v", err)
		}
		got = bad.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
