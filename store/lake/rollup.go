// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/internal/flow"
)

// rollupGroupRows is the size of a row group of a roll-up: its flows are sorted,
// and questions about few hosts read few of the groups.
const rollupGroupRows = 30 * 2048

// maxSpan bounds the times of a part that is rolled up. A roll-up lists the
// hours of every record: there must not be too many.
const maxSpan = 366 * dayMicros

// rebuildPart is how large a part of the rows of a day must be uncovered for
// its roll-up to be made anew.
const rebuildPart = 4

// rollupDay is a day to roll up.
type rollupDay struct {
	day   string
	conns []Part // the day's connections
	old   []Part // of the roll-up before
}

// planRollups returns the days to roll up.
func (c *compactor) planRollups(m *Manifest, now time.Time) []rollupDay {
	byDay := make(map[string]*rollupDay)
	for i := range m.Parts {
		p := m.Parts[i]
		if p.Kind != ConnTable && p.Kind != RollupTable || !c.closed(p.Day, now) {
			continue
		}
		d := byDay[p.Day]
		if d == nil {
			d = &rollupDay{day: p.Day}
			byDay[p.Day] = d
		}
		switch {
		case p.Kind == RollupTable:
			d.old = append(d.old, p)
		case p.MaxTS-p.MinTS <= maxSpan && !c.skips(&p):
			d.conns = append(d.conns, p)
		}
	}
	var days []rollupDay
	for _, d := range byDay {
		if c.due(d, now) {
			days = append(days, *d)
		}
	}
	slices.SortFunc(days, func(a, b rollupDay) int { return strings.Compare(a.day, b.day) })
	return days
}

// due reports whether a day is worth a new roll-up, and quiet.
func (c *compactor) due(d *rollupDay, now time.Time) bool {
	var covered, uncovered int64
	for i := range d.conns {
		if p := &d.conns[i]; p.Rollup != "" {
			covered += p.Rows
		} else {
			uncovered += p.Rows
		}
	}
	if uncovered == 0 || covered+uncovered < c.cfg.MinRollup || uncovered*rebuildPart < covered {
		return false
	}
	return c.cfg.All || !slices.ContainsFunc(d.conns, func(p Part) bool {
		return p.Rollup == "" && !c.lake.older(&p, c.cfg.QuietFor, now)
	})
}

// rollup writes the flows of a day and puts them into the store.
func (c *compactor) rollup(ctx context.Context, d rollupDay) error {
	for {
		if !c.due(&d, time.Now()) {
			return nil
		}
		parts, bad, err := c.build(ctx, &d)
		if err != nil && bad < 0 {
			return err
		}
		if bad >= 0 {
			if ok, err := c.leave(&d.conns[bad], err); !ok || err != nil {
				return err
			}
			d.conns = slices.Delete(d.conns, bad, bad+1)
			continue
		}
		covered := make(map[string]bool, len(d.conns))
		for i := range d.conns {
			covered[d.conns[i].Path] = true
		}
		id := newID()
		for i := range parts {
			parts[i].Import, parts[i].Rollup = "", id
		}
		done, err := c.lake.swap(c.dir, d.old, d.conns, parts, func(m *Manifest) {
			for i := range m.Parts {
				p := &m.Parts[i]
				switch {
				case covered[p.Path]:
					p.Rollup = id
				case p.Day == d.day && p.Kind == ConnTable:
					// It was covered before, and cannot be read now.
					p.Rollup = ""
				}
			}
		})
		if !done {
			if err == nil {
				c.stats.Superseded++
			}
			return err
		}
		c.stats.Rollups++
		for i := range d.conns {
			c.stats.Covered += d.conns[i].Rows
		}
		for i := range parts {
			c.stats.RollupRows += parts[i].Rows
			c.stats.RollupBytes += parts[i].Bytes
		}
		return err
	}
}

// build writes the parts of a roll-up. bad is the number of the part of
// connections that cannot be read, -1 if there is none.
func (c *compactor) build(ctx context.Context, d *rollupDay) (parts []Part, bad int, err error) {
	table := Rollup()
	set, err := c.set(&table)
	if err != nil {
		return nil, -1, err
	}
	defer func() {
		if err != nil {
			set.discard()
		}
	}()
	day, err := dayNumber(d.day)
	if err != nil {
		return nil, -1, err
	}
	t := new(texts)
	sorted := &runs{dir: c.dir, texts: t, most: c.budget.runs, stop: ctx.Err}
	a := &aggregate{most: c.budget.flows, width: slotMicros}
	spill := func() error {
		err := sorted.add(func(yield func(*flowRow) error) error { return a.sorted(t, ctx.Err, yield) })
		a.reset()
		return err
	}
	r := newConnReader(c.buf, c.budget.file)
	r.span = maxSpan
	defer func() {
		r.close()
		c.buf = r.data
	}()
	var conns int64
	for i := range d.conns {
		if err := r.open(ctx, c.lake.path, &d.conns[i]); err != nil {
			return nil, c.blame(err, i), err
		}
		conns = addSum(conns, d.conns[i].Conns)
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return nil, -1, err
			}
			n, err := r.addTo(a, t)
			if err != nil {
				return nil, c.blame(err, i), err
			}
			c.rows += int64(n)
			c.cfg.Progress(c.rows)
			if more = n > 0; a.full() {
				if err := spill(); err != nil {
					return nil, -1, err
				}
			}
		}
	}
	w := &rollupWriter{set: set, texts: t, day: day, group: c.budget.group, stop: ctx.Err}
	if len(sorted.names) == 0 {
		err = a.sorted(t, ctx.Err, w.add)
	} else if err = spill(); err == nil {
		a = nil
		err = sorted.each(w.add)
	}
	if err == nil {
		err = w.finish()
	}
	if err != nil {
		return nil, -1, fmt.Errorf("roll up %s: %w", d.day, err)
	}
	if w.conns != conns && conns < math.MaxInt64 {
		return nil, -1, fmt.Errorf("roll up %s: %d connections became %d", d.day, conns, w.conns)
	}
	parts = slices.Clone(set.closed)
	set.closed = set.closed[:0]
	return parts, -1, nil
}

// Columns that a roll-up is made of, in the order of connReader.
const (
	inSrc = iota
	inDst
	inProto
	inDport
	inType
	inFirst
	inLast
	inCount // the counters, as in sums
	inCSPkts
	inSCPkts
	inCSBytes
	inSCBytes
	inSport
	inCode
	inState
	inService
	inVLAN
	inSensor
	inEnd
)

// connReader reads what flows are made of.
type connReader struct {
	partReader
	// span refuses rows that last longer, or end before they begin; 0 does not.
	span   int64
	values [][]parquet.Value
}

func newConnReader(buf []byte, keep int64) *connReader {
	table := &Table{Name: ConnTable, Columns: ConnColumns()}
	r := &connReader{partReader: partReader{table: table, data: buf, keep: keep}}
	for _, name := range []string{
		"src_bin", "dst_bin", "proto", "dport", "type", "firstseen", "lastseen", "count", "cspkts",
		"scpkts", "csbytes", "scbytes", "sport", "code", "conn_state", "service", "vlan", "sensor",
		"end_reason",
	} {
		r.columns = append(r.columns,
			slices.IndexFunc(table.Columns, func(c Column) bool { return c.Name == name }))
	}
	r.values = make([][]parquet.Value, len(r.columns))
	return r
}

// addTo adds some connections to flows and returns how many, 0 at the end.
func (r *connReader) addTo(a *aggregate, t *texts) (n int, err error) {
	if n, err = r.next(chunkRows); n == 0 || err != nil {
		return 0, err
	}
	for i := range r.columns {
		if r.values[i], err = r.read(i, n); err != nil {
			return 0, err
		}
	}
	for row := range n {
		if _, err := r.addRow(a, t, row); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// addRow adds the connection in a row of the chunk, and returns for how many
// slots it counts.
func (r *connReader) addRow(a *aggregate, t *texts, row int) (slots int, err error) {
	if slots, err = r.addConn(a, t, row); err != nil {
		return 0, unfit(r.part, "%w", err)
	}
	return slots, nil
}

func (r *connReader) addConn(a *aggregate, t *texts, row int) (slots int, err error) {
	at := func(column int) *parquet.Value { return &r.values[column][row] }
	number := func(column int) int32 {
		if v := at(column); !v.IsNull() {
			return v.Int32()
		}
		return -1
	}
	var key dayFlow
	copy(key.src[:], at(inSrc).ByteArray())
	copy(key.dst[:], at(inDst).ByteArray())
	key.dport, key.typ = number(inDport), number(inType)
	if key.proto, err = t.id(at(inProto).ByteArray()); err != nil {
		return 0, err
	}
	first, last := at(inFirst).Int64(), at(inLast).Int64()
	if r.span > 0 && (last < first || last-first > r.span) {
		return 0, fmt.Errorf("a connection lasts from %d to %d", first, last)
	}
	f := a.flow(&key, first, last)
	for i := range f.sums {
		f.sums[i] = addSum(f.sums[i], at(inCount+i).Int64())
	}
	slots = a.times(f, first, last, at(inCount).Int64())
	if n := at(inSport); !n.IsNull() {
		a.put(f, setSports, n.Int32())
	}
	if n := at(inCode); !n.IsNull() {
		a.put(f, setCodes, n.Int32())
	}
	if n := at(inVLAN); !n.IsNull() {
		a.put(f, setVLANs, n.Int32())
	}
	for _, s := range []struct{ column, set int }{
		{inState, setStates}, {inService, setServices}, {inSensor, setSensors},
	} {
		v := at(s.column)
		if v.IsNull() || s.column == inState && at(inEnd).Int32() == int32(flow.EndActive) {
			continue // the state of a connection that goes on is none yet
		}
		id, err := t.id(v.ByteArray())
		if err != nil {
			return 0, err
		}
		if s.column != inService {
			a.put(f, s.set, id)
			continue
		}
		ids, err := t.split(id)
		if err != nil {
			return 0, err
		}
		for _, id := range ids {
			a.put(f, s.set, id)
		}
	}
	return slots, nil
}

// rollupWriter writes flows to the parts of a roll-up.
type rollupWriter struct {
	set   *partSet
	texts *texts
	day   int64
	group int          // bytes of a row group at most
	stop  func() error // says why to give up
	conns int64        // connections so far

	part    *partWriter
	rows    int // of the chunk
	values  int
	columns [][]parquet.Value
	bytes   []byte
	words   []string
}

// rollupValues is how many values of lists end a chunk.
const rollupValues = 64 << 10

// add adds a flow.
func (w *rollupWriter) add(r *flowRow) error {
	if w.columns == nil {
		w.columns = make([][]parquet.Value, len(w.set.table.Columns))
	}
	column := 0
	put := func(values ...parquet.Value) {
		w.columns[column] = append(w.columns[column], values...)
		column++
	}
	optional := func(n int32) {
		if n < 0 {
			put(parquet.Value{})
			return
		}
		put(parquet.Int32Value(n).Level(0, 1, 0))
	}
	address := func(a *flow.Addr) parquet.Value {
		n := len(w.bytes)
		w.bytes = a.AppendTo(w.bytes)
		return parquet.ByteArrayValue(w.bytes[n:len(w.bytes):len(w.bytes)])
	}
	binary := func(a *flow.Addr) parquet.Value {
		n := len(w.bytes)
		w.bytes = append(w.bytes, a[:]...)
		return parquet.FixedLenByteArrayValue(w.bytes[n:len(w.bytes):len(w.bytes)])
	}
	list := func(n int, value func(i int) parquet.Value) {
		w.values += n
		if n == 0 {
			put(parquet.Value{})
			return
		}
		for i := range n {
			w.columns[column] = append(w.columns[column], value(i).Level(min(i, 1), 1, 0))
		}
		column++
	}
	numbers := func(set int) {
		list(len(r.sets[set]), func(i int) parquet.Value { return parquet.Int32Value(r.sets[set][i]) })
	}
	words := func(set int) {
		w.words = w.words[:0]
		for _, id := range r.sets[set] {
			w.words = append(w.words, w.texts.list[id])
		}
		slices.Sort(w.words)
		list(len(w.words), func(i int) parquet.Value { return parquet.ValueOf(w.words[i]) })
	}
	put(address(&r.src))
	put(address(&r.dst))
	put(binary(&r.src))
	put(binary(&r.dst))
	put(parquet.ValueOf(w.texts.list[r.proto]))
	optional(r.dport)
	optional(r.typ)
	numbers(setSports)
	numbers(setCodes)
	for _, n := range r.sums {
		put(parquet.Int64Value(n))
	}
	put(parquet.Int64Value(r.first))
	put(parquet.Int64Value(r.last))
	words(setStates)
	words(setServices)
	numbers(setVLANs)
	words(setSensors)
	list(len(r.slots), func(i int) parquet.Value {
		return parquet.Int64Value(r.slots[i].slot * slotMicros)
	})
	list(len(r.slots), func(i int) parquet.Value { return parquet.Int64Value(r.slots[i].count) })

	w.conns = addSum(w.conns, r.sums[0])
	if w.part == nil {
		var err error
		if w.part, err = w.set.part(w.day); err != nil {
			return err
		}
	}
	w.part.span.add(r.first, r.last)
	w.rows++
	if w.rows >= chunkRows || w.values >= rollupValues {
		return w.flush()
	}
	return nil
}

// flush writes the chunk.
func (w *rollupWriter) flush() error {
	if err := w.stop(); err != nil || w.rows == 0 {
		return err
	}
	p := w.part
	for i := range w.columns {
		if _, err := p.columns[i].WriteRowValues(w.columns[i]); err != nil {
			return partError(err)
		}
		w.columns[i] = w.columns[i][:0]
	}
	if err := p.endChunk(w.rows, w.group); err != nil {
		return partError(err)
	}
	if p.group >= rollupGroupRows {
		p.group = 0
		if err := p.encoder.Flush(); err != nil {
			return partError(err)
		}
	}
	w.rows, w.values, w.bytes = 0, 0, w.bytes[:0]
	if p.full() {
		w.part = nil
		return w.set.settle(p)
	}
	return nil
}

// finish closes the last part.
func (w *rollupWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.set.finishAll()
}
