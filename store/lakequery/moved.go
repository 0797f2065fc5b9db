// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"weir/store/lake"
)

// A snapshot outlives the changes of the lake: parts that were replaced stay
// readable for a while, elsewhere. So a query that misses one starts again with
// the places where the parts of the same snapshot are by now. Each part moves
// once, so that this comes to an end however often others merge parts; a new
// snapshot would have new parts that can be merged away.

// places says where parts are that are not where the manifest says. The zero
// value is ready to use, from several goroutines.
type places struct {
	mu    sync.Mutex
	moved map[string]string // by the manifest's path, relative to the lake
	found int64             // how often one was found
}

// of returns the path of a part's file, relative to the lake, with slashes.
func (s *places) of(p *lake.Part) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if moved, ok := s.moved[p.Path]; ok {
		return moved
	}
	return p.Path
}

// move sets where a part is.
func (s *places) move(p *lake.Part, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved == nil {
		s.moved = make(map[string]string)
	}
	s.moved[p.Path] = to
	s.found++
}

// moves returns a number that grows with each part that is found elsewhere.
func (s *places) moves() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found
}

// forget drops what concerns other parts than those of a manifest.
func (s *places) forget(m *lake.Manifest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.moved) == 0 {
		return
	}
	kept := make(map[string]string)
	for i := range m.Parts {
		if moved, ok := s.moved[m.Parts[i].Path]; ok {
			kept[m.Parts[i].Path] = moved
		}
	}
	s.moved = kept
}

// locate looks for the files of parts and returns those that are nowhere.
func (d *DB) locate(parts []lake.Part) (lost []*lake.Part, err error) {
	var missing []*lake.Part
	for i := range parts {
		if _, err := os.Lstat(d.file(&parts[i])); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, &parts[i])
		} else if err != nil {
			return nil, fmt.Errorf("look for part: %w", err)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	// Looked at when all of them have left their places.
	old, err := lake.Replaced(d.root)
	if err != nil {
		return nil, fmt.Errorf("look for part: %w", err)
	}
	for _, p := range missing {
		if name, ok := old[path.Base(p.Path)]; ok {
			d.places.move(p, name)
		} else {
			lost = append(lost, p)
		}
	}
	return lost, nil
}

// file returns the name of a part's file.
func (d *DB) file(p *lake.Part) string {
	return filepath.Join(d.root, filepath.FromSlash(d.places.of(p)))
}

// following calls fn, which reads parts, again as long as it fails since some of
// them have another place by then.
func (d *DB) following(ctx context.Context, parts []lake.Part, fn func() error) error {
	for {
		before := d.places.moves()
		err := fn()
		if err == nil || !isIO(err) || ctx.Err() != nil {
			return err
		}
		lost, lerr := d.locate(parts)
		if lerr != nil {
			return lerr
		}
		if len(lost) > 0 || d.places.moves() == before {
			return err
		}
	}
}

// trying runs a query on the DB's views, again as long as that may help: on the
// same snapshot or, where a part of that one is nowhere, on a new one.
func (d *DB) trying(ctx context.Context, run func() error) error {
	for tries := 1; ; {
		m, version := d.installed()
		err := run()
		if err == nil {
			return nil
		}
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if !isIO(err) || tries == maxTries {
			return d.explain(ctx, err)
		}
		again, aerr := d.again(ctx, version)
		if aerr != nil {
			return aerr
		}
		if !again {
			return d.explain(ctx, err)
		}
		if d.snapshot() != m {
			tries++
		}
	}
}

// again prepares another try of a query that could not read a file, and reports
// whether there is a point in one. version is that of the views before the query.
func (d *DB) again(ctx context.Context, version int64) (bool, error) {
	d.mu.Lock()
	if d.version != version {
		d.mu.Unlock()
		return true, nil
	}
	m := d.manifest
	lost, err := d.locate(m.Parts)
	if err == nil && len(lost) == 0 && d.places.moves() != d.made {
		if err = d.replaceViews(ctx, m); err == nil || !isIO(err) {
			d.mu.Unlock()
			return err == nil, err
		}
		lost, err = d.locate(m.Parts)
	}
	d.mu.Unlock()
	if err != nil || len(lost) == 0 {
		return false, err // it is not for lack of parts
	}
	if err := d.Refresh(ctx); err != nil {
		return false, err
	}
	return d.snapshot() != m, nil
}

// pinned is a snapshot with views of its own, for questions that take several
// queries. It stays the same whatever becomes of the DB's snapshot.
type pinned struct {
	db       *DB
	schema   string
	manifest *lake.Manifest
	// made is the state of places when the views were made, -1 before.
	made int64
}

// pin makes a schema for the snapshot that queries see by now.
func (d *DB) pin(ctx context.Context) (*pinned, error) {
	d.mu.Lock()
	d.pins++
	p := &pinned{db: d, schema: fmt.Sprintf("pinned_%d", d.pins), manifest: d.manifest, made: -1}
	d.mu.Unlock()
	if _, err := d.db.ExecContext(ctx, "CREATE SCHEMA "+p.schema); err != nil {
		return nil, fmt.Errorf("make views: %w", err)
	}
	return p, nil
}

// query runs a query on the views.
func (p *pinned) query(ctx context.Context, text string, args ...any) (rows *sql.Rows, err error) {
	err = p.db.following(ctx, p.manifest.Parts, func() error {
		// Others may have found a part, too.
		if moves := p.db.places.moves(); p.made != moves {
			if err := p.db.inOne(ctx, p.db.rawViews(p.schema, p.manifest)); err != nil {
				return fmt.Errorf("make views: %w", err)
			}
			p.made = moves
		}
		rows, err = p.db.db.QueryContext(ctx, text, args...)
		return err
	})
	return rows, err
}

// release drops the views.
func (p *pinned) release() {
	// Views take little, and nobody can name them again.
	_, _ = p.db.db.Exec("DROP SCHEMA " + p.schema + " CASCADE")
}
