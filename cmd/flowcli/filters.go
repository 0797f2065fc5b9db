// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"weir/internal/filter"
)

// parseFilters returns what all filters of the command line select, nil for
// everything.
func (o *options) parseFilters() (*filter.Expr, error) {
	opts := filter.Options{Now: time.Now(), Zone: o.zone}
	var exprs []*filter.Expr
	for _, list := range [][]string{o.list.nodeFilters, o.list.flowFilters} {
		for _, text := range list {
			if strings.TrimSpace(text) == "" {
				continue
			}
			e, err := filter.Parse(text, opts)
			if bad := new(filter.SyntaxError); errors.As(err, &bad) {
				return nil, &textError{err: fmt.Errorf("filter: %w", bad), text: text, offset: bad.Offset}
			}
			if err != nil {
				return nil, fmt.Errorf("filter %q: %w", text, err)
			}
			exprs = append(exprs, e)
		}
	}
	return filter.And(exprs...), nil
}
