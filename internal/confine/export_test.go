// SPDX-License-Identifier: Apache-2.0

//go:build linux

package confine

import (
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
)

// Calls returns the calls that the filter names without arguments.
func Calls() (allowed, absent []string) { return allowedCalls(), absentCalls() }

// Assemble returns the filter of this machine and a process.
func Assemble(table *arch.Info, pid int, connect bool) ([]bpf.Instruction, error) {
	p := policy(table, pid, connect)
	return p.Assemble()
}

// Known returns those of the calls that a machine has.
func Known(table *arch.Info) []string { return known(table, allowedCalls()) }

// LookUpFiles returns the files that say how names are looked up.
func LookUpFiles(etc string) []string { return lookUpFiles(etc) }
