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
	opts := o.reading()
	var exprs []*filter.Expr
	for _, list := range []struct {
		flag  string
		texts []string
	}{{"-n", o.list.nodeFilters}, {"-f", o.list.flowFilters}} {
		for _, text := range list.texts {
			if strings.TrimSpace(text) == "" {
				continue
			}
			e, err := filter.Parse(text, opts)
			if bad := new(filter.SyntaxError); errors.As(err, &bad) {
				return nil, &textError{err: fmt.Errorf("filter: %w%s", bad, unquoted(list.flag, list.texts, opts)), text: text, offset: bad.Offset}
			}
			if err != nil {
				return nil, fmt.Errorf("filter %q: %w", text, err)
			}
			exprs = append(exprs, e)
		}
	}
	return filter.And(exprs...), nil
}

// unquoted says what to write where words behind a flag are a filter together, and
// were meant as one.
func unquoted(flag string, texts []string, opts filter.Options) string {
	if len(texts) < 2 {
		return ""
	}
	whole := strings.Join(texts, " ")
	if _, err := filter.Parse(whole, opts); err != nil || strings.Contains(whole, "'") {
		return ""
	}
	return fmt.Sprintf("; a filter is one argument: %s '%s'", flag, whole)
}

// reading returns how values of filters are read.
func (o *options) reading() filter.Options { return filter.Options{Now: time.Now(), Zone: o.zone} }
