// SPDX-License-Identifier: Apache-2.0

package confine

// Calls returns what the filter names, for the tests.
func Calls() (allowed, absent []string) { return allowedCalls(), absentCalls() }

// Filter is the filter of a machine, for the tests.
var Filter = policy
