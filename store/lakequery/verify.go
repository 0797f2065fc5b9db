// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"

	duckdb "github.com/duckdb/duckdb-go/v2"
	"golang.org/x/sync/errgroup"

	"weir/store/lake"
)

// verify checks the parts of a manifest that were not checked before, wherever
// they are by now. The caller holds d.mu.
func (d *DB) verify(ctx context.Context, m *lake.Manifest) error {
	return d.following(ctx, m.Parts, func() error { return d.verifyPlaced(ctx, m) })
}

// verifyPlaced checks what Parquet does not protect by checksums, so that a query
// over the rest fails where it is damaged. Parts are immutable, once is enough.
func (d *DB) verifyPlaced(ctx context.Context, m *lake.Manifest) error {
	known := d.verified
	d.verified = make(map[string]string, len(m.Parts))
	var todo []*lake.Part
	for i := range m.Parts {
		p := &m.Parts[i]
		if sum, ok := known[p.Path]; ok && sum == p.Sum {
			d.verified[p.Path] = sum
		} else {
			todo = append(todo, p)
		}
	}
	good := make([]bool, len(todo))
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range d.threads {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(todo) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				p := *todo[i]
				p.Path = d.places.of(todo[i])
				if err := lake.VerifyPart(d.root, &p); err != nil {
					return err
				}
				good[i] = true
			}
		})
	}
	err := g.Wait()
	for i, ok := range good {
		if ok {
			d.verified[todo[i].Path] = todo[i].Sum
		}
	}
	return err
}

// damage finds the part because of which DuckDB could not read on. It returns
// the error itself where no part is to blame.
func (d *DB) damage(ctx context.Context, err error) error {
	var derr *duckdb.Error
	if !errors.As(err, &derr) || derr.Type == duckdb.ErrorTypeOutOfMemory {
		return err
	}
	// DuckDB names the file that it could not decompress.
	_, name, ok := strings.Cut(derr.Msg, `"`+d.root+string(filepath.Separator))
	if !ok {
		return err
	}
	name, _, _ = strings.Cut(name, `"`)
	m := d.snapshot()
	for i := range m.Parts {
		p := m.Parts[i]
		p.Path = d.places.of(&p)
		if filepath.FromSlash(p.Path) == name {
			var bad *lake.DamagedError
			if verr := lake.VerifyWhole(ctx, d.root, &p); errors.As(verr, &bad) {
				return bad
			}
		}
	}
	return err
}
