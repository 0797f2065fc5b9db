// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"weir/internal/filter"
	"weir/store"
	"weir/store/lake"
)

// TailQuery says what a Tail shows.
type TailQuery struct {
	// Filter selects connections, each taken as a flow of its own; nil selects all.
	Filter *filter.Expr
	// Intel adds a column "intel" with a few texts of what was learned from a
	// connection.
	Intel bool
}

// Tail follows the connections that end: those which writers of the lake bring
// in while it looks. It is not safe for concurrent use.
type Tail struct {
	db      *DB
	conn    *sql.Conn
	query   TailQuery
	columns []store.Column
	// mergeAge is the age from which on parts may be merged with others, batch
	// about how many connections are looked at, sorted and handed on at once.
	mergeAge time.Duration
	batch    int64

	manifest os.FileInfo // of the manifest read last
	seen     int64       // its generation
	looked   time.Time   // when it was read
	// known holds the day of each of its parts of conn, by path.
	known map[string]string
	// newest is the greatest lastseen of these parts, in microseconds.
	newest int64
	missed bool
}

// mergeAge is a little less than how long parts stay as they are before they are
// merged with others, see docs/lake.md.
const mergeAge = 55 * time.Second

// tailBatch bounds the memory that a large import takes: some hundred bytes for
// each connection.
const tailBatch = 200_000

// MaxLast bounds the connections that Last returns.
const MaxLast = 100_000

// Tail starts to follow the lake: connections are new if they are not in it yet.
// Close must be called at the end.
func (d *DB) Tail(ctx context.Context, q TailQuery) (*Tail, error) {
	t := &Tail{db: d, query: q, mergeAge: mergeAge, batch: tailBatch}
	if _, err := t.selectSQL(0, ident); err != nil {
		return nil, fmt.Errorf("follow connections: %w", err)
	}
	m, err := t.read()
	if err == nil {
		t.remember(m)
		t.conn, err = d.db.Conn(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("follow connections: %w", err)
	}
	if err := t.describe(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("follow connections: %w", err), t.Close())
	}
	return t, nil
}

// Close frees what the Tail holds.
func (t *Tail) Close() error { return t.conn.Close() }

// Columns describes the values of a row: the columns of view conn and, if asked
// for, intel.
func (t *Tail) Columns() []store.Column { return t.columns }

// Missed reports whether connections may have been missed since it was asked
// last: parts were merged before the Tail looked at them.
func (t *Tail) Missed() bool {
	missed := t.missed
	t.missed = false
	return missed
}

// read reads the manifest; nil if it is the one read last.
func (t *Tail) read() (*lake.Manifest, error) {
	info, err := os.Stat(filepath.Join(t.db.path, "MANIFEST"))
	if err == nil && t.manifest != nil && os.SameFile(info, t.manifest) &&
		info.ModTime().Equal(t.manifest.ModTime()) && info.Size() == t.manifest.Size() {
		t.looked = time.Now()
		return nil, nil
	}
	m, merr := lake.ReadManifest(t.db.path)
	if merr != nil {
		return nil, merr // it says what is wrong with the store
	}
	t.manifest = info // if it is replaced in between, it differs the next time
	if err != nil {
		t.manifest = nil
	}
	return m, nil
}

// remember makes the content of a manifest known.
func (t *Tail) remember(m *lake.Manifest) {
	t.seen, t.looked = m.Generation, time.Now()
	t.known = make(map[string]string)
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Kind == lake.ConnTable {
			t.known[p.Path] = p.Day
			t.newest = max(t.newest, p.MaxTS)
		}
	}
}

// news returns the parts of a manifest that came in since the last one. Of
// those in mixed only rows after newest are new for sure: rows that were there
// before may have been merged into them.
func (t *Tail) news(m *lake.Manifest) (whole, mixed []lake.Part) {
	if m.Generation < t.seen {
		// The store was made anew.
		t.seen, t.known, t.newest = 0, nil, 0
	}
	merged := map[string]bool{} // days of parts that left the lake
	if time.Since(t.looked) >= t.mergeAge {
		left := make(map[string]bool, len(t.known))
		for path := range t.known {
			left[path] = true
		}
		for i := range m.Parts {
			delete(left, m.Parts[i].Path)
		}
		for path := range left {
			merged[t.known[path]] = true
		}
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		switch {
		case p.Kind != lake.ConnTable || p.Generation <= t.seen || t.known[p.Path] != "":
		case merged[p.Day]:
			mixed = append(mixed, *p)
		default:
			whole = append(whole, *p)
		}
	}
	return whole, mixed
}

// Poll yields the connections that ended since the last call, or since the Tail
// was made, in the order of lastseen. A row is valid until the next one. Where
// nothing changed, it costs one system call.
func (t *Tail) Poll(ctx context.Context) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		if err := t.poll(ctx, yield); err != nil {
			yield(nil, fmt.Errorf("follow connections: %w", err))
		}
	}
}

func (t *Tail) poll(ctx context.Context, yield func([]any, error) bool) error {
	m, err := t.read()
	if m == nil || err != nil {
		return err
	}
	whole, mixed := t.news(m)
	src := tailSource{parts: whole, mixed: mixed, after: t.newest, manifest: m}
	if len(mixed) > 0 {
		t.missed = true
	}
	t.remember(m)
	if len(whole)+len(mixed) == 0 {
		return nil
	}
	ranges := []timeRange{{}}
	err = t.retrying(ctx, &src, func() error {
		ranges, err = t.split(ctx, &src)
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range ranges {
		var rows *sql.Rows
		err := t.retrying(ctx, &src, func() error {
			rows, err = t.run(ctx, &src, r, 0) //nolint:rowserrcheck // scan checks it
			return err
		})
		if err != nil {
			return err
		}
		more, err := t.scan(rows, yield)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// retrying calls fn again where parts are elsewhere, or left the lake meanwhile:
// then without them.
func (t *Tail) retrying(ctx context.Context, src *tailSource, fn func() error) error {
	for {
		if src.manifest == nil {
			m, err := lake.ReadManifest(t.db.path)
			if err != nil {
				return err
			}
			src.manifest = m
		}
		err := t.db.following(ctx, slices.Concat(src.parts, src.mixed, src.manifest.Parts), fn)
		if cerr := ctx.Err(); err != nil && cerr != nil {
			return cerr
		}
		if err == nil || !isIO(err) || src.tries == maxTries {
			return err
		}
		lost, lerr := t.db.locate(slices.Concat(src.parts, src.mixed, src.manifest.Parts))
		if lerr != nil {
			return lerr
		}
		if len(lost) == 0 {
			return err
		}
		if src.drop(lost) {
			t.missed = true
		}
		src.manifest = nil
		src.tries++
	}
}

// tailSource is where connections are read from.
type tailSource struct {
	parts []lake.Part
	// mixed parts hold also rows that are not wanted: those up to after.
	mixed []lake.Part
	after int64
	// manifest says where more about these connections is, see retrying; tries
	// counts those that were given up.
	manifest *lake.Manifest
	tries    int
}

// drop drops parts and reports whether it had any of them.
func (s *tailSource) drop(lost []*lake.Part) bool {
	names := make(map[string]bool, len(lost))
	for _, p := range lost {
		names[p.Path] = true
	}
	before := len(s.parts) + len(s.mixed)
	gone := func(p lake.Part) bool { return names[p.Path] }
	s.parts, s.mixed = slices.DeleteFunc(s.parts, gone), slices.DeleteFunc(s.mixed, gone)
	return len(s.parts)+len(s.mixed) < before
}

// rows returns how many rows the parts have.
func (s *tailSource) rows() (n int64) {
	for _, list := range [][]lake.Part{s.parts, s.mixed} {
		for i := range list {
			n += list[i].Rows
		}
	}
	return n
}

// timeRange is a range of lastseen: after, up to and including until. A zero
// time is no bound.
type timeRange struct{ after, until time.Time }

// split cuts many connections into ranges of time that are small enough to be
// sorted, one after the other.
func (t *Tail) split(ctx context.Context, src *tailSource) ([]timeRange, error) {
	n := src.rows()/t.batch + 1
	if n == 1 {
		return []timeRange{{}}, nil
	}
	var steps []float64
	for i := int64(1); i < n; i++ {
		steps = append(steps, float64(i)/float64(n))
	}
	text := fmt.Sprintf("SELECT unnest(list_distinct(approx_quantile(epoch_us(lastseen), %s))) AS us FROM %s ORDER BY us",
		listSQL(steps), t.db.endedSQL(src))
	rows, err := t.conn.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	var ranges []timeRange
	var last time.Time
	for rows.Next() {
		var us sql.NullInt64
		if err := rows.Scan(&us); err != nil {
			return nil, err
		}
		if us.Valid {
			until := time.UnixMicro(us.Int64)
			ranges = append(ranges, timeRange{last, until})
			last = until
		}
	}
	return append(ranges, timeRange{after: last}), rows.Err()
}

// scan yields rows and closes them; more is false if yield wants no more.
func (t *Tail) scan(rows *sql.Rows, yield func([]any, error) bool) (more bool, err error) {
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	values := make([]any, len(t.columns))
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return false, err
		}
		for i := range values {
			values[i] = rawValue(values[i], t.columns[i].Type)
		}
		if !yield(values, nil) {
			return false, nil
		}
	}
	return true, rows.Err()
}

// Last yields the n connections that ended last, of those that the Tail does not
// take for new, the oldest first. It is to be called before Poll.
func (t *Tail) Last(ctx context.Context, n int) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		rows, err := t.last(ctx, min(n, MaxLast))
		for _, row := range rows {
			if err == nil && !yield(row, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, fmt.Errorf("list last connections: %w", err))
		}
	}
}

// last goes through the parts from the latest one back, until there are enough
// connections and no older part can hold a later one.
func (t *Tail) last(ctx context.Context, n int) ([][]any, error) {
	if n <= 0 {
		return nil, nil
	}
	m, err := lake.ReadManifest(t.db.path)
	if err != nil {
		return nil, err
	}
	var parts []lake.Part
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Kind == lake.ConnTable && t.known[p.Path] != "" {
			parts = append(parts, *p)
		}
	}
	slices.SortStableFunc(parts, func(a, b lake.Part) int { return int(min(max(b.MaxTS-a.MaxTS, -1), 1)) })
	ended := slices.IndexFunc(t.columns, func(c store.Column) bool { return c.Name == "lastseen" })
	later := func(a, b []any) int { return b[ended].(time.Time).Compare(a[ended].(time.Time)) }
	var found [][]any
	for len(parts) > 0 {
		if len(found) == n && parts[0].MaxTS < found[n-1][ended].(time.Time).UnixMicro() {
			break
		}
		src := tailSource{manifest: m}
		for len(parts) > 0 && (len(src.parts) == 0 || src.rows()+parts[0].Rows <= t.batch) {
			src.parts, parts = append(src.parts, parts[0]), parts[1:]
		}
		var rows *sql.Rows
		err := t.retrying(ctx, &src, func() error {
			rows, err = t.run(ctx, &src, timeRange{}, n) //nolint:rowserrcheck // scan checks it
			return err
		})
		if err != nil {
			return nil, err
		}
		if _, err := t.scan(rows, func(row []any, _ error) bool {
			found = append(found, slices.Clone(row))
			return true
		}); err != nil {
			return nil, err
		}
		slices.SortStableFunc(found, later)
		found = found[:min(n, len(found))]
	}
	slices.Reverse(found)
	return found, nil
}
