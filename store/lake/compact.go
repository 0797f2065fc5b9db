// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// CompactConfig says what Compact does. The zero value is what a sensor wants;
// of every duration and number, 0 means the default and less than 0 none.
type CompactConfig struct {
	// MinAge is for how long a part must have been in the store before it is
	// merged (default 60 s), so that those who follow the store see it first.
	MinAge time.Duration
	// ClosedAfter is how long after its end a day counts as over (default 2 h).
	ClosedAfter time.Duration
	// QuietFor is for how long no part may have come in for a day before it is
	// rolled up (default 10 min).
	QuietFor time.Duration
	// MinRollup is how many rows a day must have to be rolled up (default 10,000).
	MinRollup int64
	// Memory is about what a call may take, in bytes (default 256 MB). With less
	// than MinCompactMemory it takes that. Less memory means smaller row groups
	// and dictionaries, and roll-ups that are made in more steps.
	Memory int64
	// All merges whatever can be merged, days that go on included, however few
	// the rows.
	All bool
	// Except says which parts to leave alone, by their paths: somebody reads them
	// one after the other, and wants to find them again.
	Except func(path string) bool
	// Progress is called with the number of rows read so far, now and then.
	Progress func(rows int64)
}

// CompactStats says what Compact did.
type CompactStats struct {
	// Merged is how many parts were merged, Parts how many they became.
	Merged, Parts int
	// Rows is how many rows the merged parts hold, Before and After their size.
	Rows, Before, After int64
	// Rollups is how many days were rolled up, Covered how many rows of
	// connections, RollupRows to how many, and RollupBytes their size.
	Rollups int
	// Weeks is how many weeks were rolled up, WeekRows to how many rows, and WeekBytes their size.
	Weeks                            int
	WeekRows, WeekBytes              int64
	Covered, RollupRows, RollupBytes int64
	// Superseded counts merges and roll-ups that were given up since a part left
	// the store meanwhile.
	Superseded int
	// Unfit says which parts were left alone because they cannot be read, and
	// why.
	Unfit []error
}

func (c CompactConfig) withDefaults() CompactConfig {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
		*d = max(*d, 0)
	}
	set(&c.MinAge, time.Minute)
	set(&c.ClosedAfter, 2*time.Hour)
	set(&c.QuietFor, 10*time.Minute)
	if c.MinRollup == 0 {
		c.MinRollup = 10_000
	}
	c.MinRollup = max(c.MinRollup, 1)
	if c.Memory == 0 {
		c.Memory = defaultCompactMemory
	}
	c.Memory = max(c.Memory, MinCompactMemory)
	if c.Except == nil {
		c.Except = func(string) bool { return false }
	}
	if c.Progress == nil {
		c.Progress = func(int64) {}
	}
	return c
}

// Factors between parts that are merged and what they become, see choose.
const (
	openFactor   = 12
	closedFactor = 2
)

// Compact merges small parts, and rolls up the flows of days that are over. One
// process does so at a time: with another one at it, the error is
// ErrCompacting. It takes no more memory for more parts or larger ones, works in
// the goroutine that calls it, and is cheap where there is nothing to do. Each merge and each roll-up is a change of its own: after an error, or
// when ctx ends, what was done so far stays.
func (l *Lake) Compact(ctx context.Context, cfg CompactConfig) (CompactStats, error) {
	c := &compactor{lake: l, cfg: cfg.withDefaults(), sets: make(map[tableVersion]*partSet)}
	c.budget = newBudget(c.cfg.Memory)
	err := c.run(ctx)
	if err != nil {
		err = fmt.Errorf("compact store: %w", err)
	}
	return c.stats, err
}

// compactor is one call of Compact.
type compactor struct {
	lake   *Lake
	cfg    CompactConfig
	budget budget
	stats  CompactStats
	rows   int64 // read so far
	buf    []byte

	// Of the directory where parts are written, made when the first one is.
	id, dir string
	lock    *os.File
	codec   *codec
	sets    map[tableVersion]*partSet
	seq     atomic.Int64 // numbers the parts
}

// tableVersion is a table with the columns of a time.
type tableVersion struct {
	name   string
	schema int
}

func (c *compactor) run(ctx context.Context) (err error) {
	lock, err := c.lake.lockCompaction()
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range c.sets {
			s.discard()
		}
		if c.dir != "" {
			err = errors.Join(err, release(c.dir, c.lock))
		}
		err = errors.Join(err, lock.Close())
	}()
	m, err := c.lake.Manifest()
	if err != nil {
		return err
	}
	for _, group := range c.plan(m, time.Now()) {
		if err := c.merge(ctx, group); err != nil {
			return err
		}
	}
	if m, err = c.lake.Manifest(); err != nil {
		return err
	}
	for _, day := range c.planRollups(m, time.Now()) {
		if err := c.rollup(ctx, day); err != nil {
			return err
		}
	}
	if m, err = c.lake.Manifest(); err != nil {
		return err
	}
	for _, week := range c.planWeeks(m, time.Now()) {
		if err := c.rollupWeek(ctx, week); err != nil {
			return err
		}
	}
	return nil
}

// lockCompaction takes the compactor's lock. The system gives it back when the
// process ends, however it ends.
func (l *Lake) lockCompaction() (*os.File, error) {
	name := l.join(compactLockName)
	f, err := openLock(name)
	if err != nil {
		return nil, err
	}
	var free bool
	if err = l.give(name); err == nil {
		free, err = tryLock(f)
	}
	if err == nil && !free {
		err = ErrCompacting
	}
	if err != nil {
		_ = f.Close() // the first error is the one that matters
		return nil, err
	}
	return f, nil
}

// set returns the open parts of a table in the compactor's own directory. The
// encoders of other tables, of which no part is open, are let go.
func (c *compactor) set(t *Table) (*partSet, error) {
	key := tableVersion{t.Name, t.Schema}
	for other, s := range c.sets {
		if other != key {
			s.spare = nil
		}
	}
	if s := c.sets[key]; s != nil {
		return s, nil
	}
	if c.dir == "" {
		id := "m" + newID()
		var err error
		if c.codec, err = newCodec(); err != nil {
			return nil, err
		}
		dir, lock, err := c.lake.claim(id)
		if err != nil {
			return nil, err
		}
		c.id, c.dir, c.lock = id, dir, lock
	}
	s := &partSet{
		table: *t, schema: schemaOf(t), dir: c.dir, id: c.id, vers: c.lake.version, codec: c.codec,
		seq: &c.seq, dictionary: c.budget.dictionary,
	}
	c.sets[key] = s
	return s, nil
}

// leave notes that a part cannot be read. It returns false where the part has
// left the store meanwhile, and with it what was planned.
func (c *compactor) leave(p *Part, err error) (bool, error) {
	m, merr := c.lake.Manifest()
	if merr != nil {
		return false, merr
	}
	if !m.lives([]Part{*p}) {
		c.stats.Superseded++
		return false, nil
	}
	c.lake.unfit.add(p.Path, err)
	c.stats.Unfit = append(c.stats.Unfit, err)
	return true, nil
}

// mergeKey is what parts must share to be merged.
type mergeKey struct {
	kind, day, imp, rollup string
	schema                 int // so that no value is made up
}

// plan returns groups of parts, each to become one part.
func (c *compactor) plan(m *Manifest, now time.Time) [][]Part {
	known := make(map[string]bool)
	for _, t := range Tables() {
		known[t.Name] = true
	}
	shared := m.irreplaceable()
	byKey := make(map[mergeKey][]Part)
	for i := range m.Parts {
		p := m.Parts[i]
		if !known[p.Kind] || p.fill() >= fullPart || c.skips(&p) {
			continue
		}
		key := mergeKey{p.Kind, p.Day, p.Import, p.Rollup, p.Schema}
		if shared[p.Import] {
			key.imp = ""
		}
		byKey[key] = append(byKey[key], p)
	}
	keys := make([]mergeKey, 0, len(byKey))
	for key, parts := range byKey {
		if len(parts) > 1 {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b mergeKey) int {
		return cmp.Or(strings.Compare(a.day, b.day), strings.Compare(a.kind, b.kind),
			strings.Compare(a.imp, b.imp), strings.Compare(a.rollup, b.rollup), cmp.Compare(a.schema, b.schema))
	})
	var groups [][]Part
	for _, key := range keys {
		factor := float64(openFactor)
		switch {
		case c.cfg.All:
			factor = 1
		case c.closed(key.day, now):
			factor = closedFactor
		}
		parts := choose(byKey[key], factor)
		parts = slices.DeleteFunc(parts, func(p Part) bool { return !c.lake.older(&p, c.cfg.MinAge, now) })
		groups = append(groups, cut(parts, factor)...)
	}
	return groups
}

// skips reports whether a part is not to be read.
func (c *compactor) skips(p *Part) bool { return c.cfg.Except(p.Path) || c.lake.unfit.has(p.Path) }

// irreplaceable returns the ids of imports that no other import can replace:
// which of them a row came from matters to nobody.
func (m *Manifest) irreplaceable() map[string]bool {
	ids := map[string]bool{"": true}
	for i := range m.Imports {
		imp := &m.Imports[i]
		ids[imp.ID] = (imp.Source == "live" || imp.Source == "stdin") && !imp.identified()
	}
	return ids
}

// fullPart is how much of a part's greatest size makes it large enough.
const fullPart = 0.5

// fill returns how much of its greatest size a part has.
func (p *Part) fill() float64 {
	return max(float64(p.Rows)/partRows, float64(p.Bytes)/partBytes)
}

// choose returns the parts to merge: the largest number of the smallest ones
// that together are factor times as large as the largest of them. So each time
// that a row is written again, it gets into a part that is factor times as
// large: the number of times is bounded by a logarithm.
func choose(parts []Part, factor float64) []Part {
	slices.SortFunc(parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.fill(), b.fill()), strings.Compare(a.Path, b.Path))
	})
	n, sum := 0, 0.0
	for i := range parts {
		fill := parts[i].fill()
		if sum += fill; sum >= factor*fill {
			n = i + 1
		}
	}
	return parts[:n]
}

// cut cuts parts into groups that fill one part each, in the order of time.
func cut(parts []Part, factor float64) [][]Part {
	slices.SortFunc(parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.MinTS, b.MinTS), strings.Compare(a.Path, b.Path))
	})
	var groups [][]Part
	for len(parts) > 0 {
		var rows, bytes int64
		sum, largest, n := 0.0, 0.0, 0
		for ; n < len(parts); n++ {
			rows, bytes = rows+parts[n].Rows, bytes+parts[n].Bytes
			if rows > partRows || bytes > partBytes {
				break
			}
			fill := parts[n].fill()
			sum, largest = sum+fill, max(largest, fill)
		}
		// The last group may be too small to be worth it yet.
		if n > 1 && (sum >= fullPart || sum >= factor*largest) {
			groups = append(groups, parts[:n:n])
		}
		parts = parts[n:]
	}
	return groups
}

// closed reports whether a day is over by the clock.
func (c *compactor) closed(day string, now time.Time) bool {
	start, err := time.Parse(time.DateOnly, day)
	return err == nil && now.Sub(start.AddDate(0, 0, 1)) >= c.cfg.ClosedAfter
}

// fileAhead is how far in the future a file's time must lie to be none.
const fileAhead = time.Hour

// older reports whether a part has been in the store for some time. Its file
// was renamed into place right before the manifest named it, which file
// systems keep as the time of the last change. A time in the future is that
// of a clock that was set back since.
func (l *Lake) older(p *Part, age time.Duration, now time.Time) bool {
	if age == 0 {
		return true
	}
	var st unix.Stat_t
	if err := unix.Lstat(l.join(filepath.FromSlash(p.Path)), &st); err != nil {
		return true // reading it tells what is wrong
	}
	had := now.Sub(time.Unix(st.Ctim.Unix()))
	return had >= age || had < -fileAhead
}

// merge writes the rows of some parts to one part that takes their place.
func (c *compactor) merge(ctx context.Context, group []Part) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		parts, bad, err := c.concat(ctx, group)
		if err != nil && bad < 0 {
			return err
		}
		if bad >= 0 {
			if ok, err := c.leave(&group[bad], err); !ok || err != nil {
				return err
			}
			if group = slices.Delete(group, bad, bad+1); len(group) < 2 {
				return nil
			}
			continue
		}
		done, err := c.lake.swap(c.dir, group, nil, parts, nil)
		if !done {
			if err == nil {
				c.stats.Superseded++
			}
			return err
		}
		for i := range group {
			c.stats.Rows += group[i].Rows
			c.stats.Before += group[i].Bytes
		}
		for i := range parts {
			c.stats.After += parts[i].Bytes
		}
		c.stats.Merged += len(group)
		c.stats.Parts += len(parts)
		return err
	}
}

// concat writes a part with the rows of others, one after the other. bad is
// the number of the one that cannot be read, -1 if there is none.
func (c *compactor) concat(ctx context.Context, group []Part) (out []Part, bad int, err error) {
	table := tableOf(group[0].Kind, group[0].Schema)
	set, err := c.set(table)
	if err != nil {
		return nil, -1, err
	}
	defer func() {
		if err != nil {
			set.discard()
		}
	}()
	day, err := dayNumber(group[0].Day)
	if err != nil {
		return nil, -1, err
	}
	p, err := set.part(day)
	if err != nil {
		return nil, -1, err
	}
	r := &partReader{table: table, data: c.buf, keep: c.budget.file}
	defer func() {
		r.close()
		c.buf = r.data
	}()
	for i := range group {
		if err := r.open(ctx, c.lake.path, &group[i]); err != nil {
			return nil, c.blame(err, i), err
		}
		if err := c.copyRows(ctx, p, r); err != nil {
			return nil, c.blame(err, i), err
		}
	}
	if err := set.finishAll(); err != nil {
		return nil, -1, err
	}
	part := set.closed[0]
	set.closed = set.closed[:0]
	rows := part.Rows
	for i := range group {
		rows -= group[i].Rows
	}
	if rows != 0 {
		return nil, -1, fmt.Errorf("merge parts: %d rows too many", rows)
	}
	sumUp(&part, group)
	return []Part{part}, -1, nil
}

// blame returns the number of a part if an error is its fault, -1 if not.
func (c *compactor) blame(err error, i int) int {
	if errors.Is(err, errUnfit) {
		return i
	}
	return -1
}

// sumUp fills in what a merged part has from its inputs.
func sumUp(part *Part, group []Part) {
	first := &group[0]
	part.Import, part.Rollup = first.Import, first.Rollup
	part.MinTS, part.MaxTS, part.Conns, part.Partial = first.MinTS, first.MaxTS, 0, 0
	part.Generation = 0
	for i := range group {
		in := &group[i]
		if in.Import != part.Import {
			part.Import = ""
		}
		part.MinTS, part.MaxTS = min(part.MinTS, in.MinTS), max(part.MaxTS, in.MaxTS)
		part.Conns = clamp(uint64(part.Conns) + uint64(in.Conns))
		part.Partial += in.Partial
		part.Generation = max(part.Generation, in.Generation)
	}
}

// copyRows writes all rows of a part to another one.
func (c *compactor) copyRows(ctx context.Context, p *partWriter, r *partReader) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.next(chunkRows)
		if err != nil || n == 0 {
			return err
		}
		for i := range r.leaves {
			values, err := r.read(i, n)
			if err != nil {
				return err
			}
			if _, err := p.columns[i].WriteRowValues(values); err != nil {
				return partError(err)
			}
		}
		if err := p.endChunk(n, c.budget.group); err != nil {
			return partError(err)
		}
		c.rows += int64(n)
		c.cfg.Progress(c.rows)
	}
}

// tableOf returns a table as it was when parts had a schema, nil if there is
// none of that name.
func tableOf(name string, schema int) *Table {
	for _, t := range append(Tables(), Rollup(), WeekRollup()) {
		if t.Name == name {
			if schema < t.Schema {
				t.Schema = schema
				t.Columns = slices.DeleteFunc(t.Columns, func(c Column) bool { return c.Since > schema })
			}
			return &t
		}
	}
	return nil
}

// dayNumber returns the number of a day.
func dayNumber(name string) (int64, error) {
	t, err := time.Parse(time.DateOnly, name)
	if err != nil {
		return 0, err
	}
	return dayOf(t.UnixMicro()), nil
}
