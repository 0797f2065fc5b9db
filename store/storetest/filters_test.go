// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"slices"
	"strings"
	"testing"

	"weir/internal/filter"
	"weir/store/storetest"
)

// TestCells checks that the table of sorts of clauses has what it should.
func TestCells(t *testing.T) {
	all := storetest.Cells("lake")
	for _, op := range strings.Fields(" = != < <= > >= =~ !~ IN") {
		for _, quant := range []string{"", "ANY", "ALL", "ONE", "NONE"} {
			for _, typ := range []filter.Type{filter.Text, filter.Address, filter.Number, filter.Size} {
				if !slices.Contains(all, storetest.Cell{Place: "flow", Type: typ, Quant: quant, Op: op}) {
					t.Errorf("no cell for %s %v %s", quant, typ, op)
				}
			}
		}
	}
	for _, c := range []storetest.Cell{
		{Place: "flow", Type: filter.Time, Quant: "LEN", Op: ">="},
		{Place: "block", Type: filter.Bool, Quant: "NONE", Op: "IN"},
		{Place: "meta", Type: filter.Duration, Quant: "ONE", Op: "<"},
		{Place: "count", Type: filter.Size, Quant: "ALL", Op: "!="},
		{Place: "flow", Type: filter.Duration, Op: "=", Against: "attribute"},
		{Place: "flow", Type: filter.Address, Quant: "ONE", Op: "IN", Against: "network"},
	} {
		if !slices.Contains(all, c) {
			t.Errorf("no cell %+v", c)
		}
	}
}
