// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"cmp"
	"slices"
	"sync"

	"weir/internal/flow"
)

// Limits of what waits for a part of its day.
const (
	laterRows  = 16 << 10
	laterBytes = 4 << 20
)

// dayRow is a row's number with the day that it belongs to.
type dayRow struct {
	day int64
	row int32
}

// sortDays puts rows of one day together, in their order.
func sortDays(rows []dayRow) {
	slices.SortStableFunc(rows, func(a, b dayRow) int { return cmp.Compare(a.day, b.day) })
}

// sameDay returns how many rows at the beginning of sorted ones share a day.
func sameDay(rows []dayRow) int {
	n := 1
	for n < len(rows) && rows[n].day == rows[0].day {
		n++
	}
	return n
}

// timeSpan is a range of times in microseconds, empty at first.
type timeSpan struct {
	first, last int64
	any         bool
}

func (s *timeSpan) add(first, last int64) {
	if !s.any {
		s.first, s.last, s.any = first, last, true
	}
	s.first, s.last = min(s.first, first), max(s.last, last)
}

// connSink takes connections. Its mutex guards the fields; the table that a
// publication has taken out belongs to the publication.
type connSink struct {
	mu     sync.Mutex
	closed bool
	cur    *connTable
	// spare takes the place of cur in a publication; nil until there was one.
	// Writer.state guards it, not the mutex.
	spare *connTable
}

// connTable is the connections since the last publication. It is not safe for
// concurrent use.
type connTable struct {
	err    error // the first failure; nothing is written after it
	set    *partSet
	labels *labels
	// later holds connections of days that no open part is for, so that days
	// in disorder do not become a part for each row.
	later flow.ConnBatch
	taken int64 // rows that came in, written or not

	order []dayRow          // scratch space
	day   []flow.Connection // scratch space
}

// take adds connections. All of them count as taken, whatever becomes of them.
func (s *connTable) take(rows []flow.Connection) error {
	s.taken += int64(len(rows))
	if s.err == nil {
		s.err = s.add(rows, false)
	}
	return s.err
}

// add writes connections to the parts of their days. Unless they are due now,
// those of further days wait until there are many of them.
func (s *connTable) add(rows []flow.Connection, due bool) error {
	if len(rows) == 0 {
		return nil
	}
	s.order = s.order[:0]
	same := true
	for i := range rows {
		day := dayOf(rows[i].First.Micro())
		s.order = append(s.order, dayRow{day, int32(i)})
		same = same && day == s.order[0].day
	}
	if same && (due || s.set.has(s.order[0].day)) {
		return s.write(s.order[0].day, rows)
	}
	sortDays(s.order)
	for order := s.order; len(order) > 0; {
		n := sameDay(order)
		wait := !due && !s.set.has(order[0].day)
		s.day = s.day[:0]
		for _, r := range order[:n] {
			if wait {
				s.later.Add(&rows[r.row])
			} else {
				s.day = append(s.day, rows[r.row])
			}
		}
		if !wait {
			if err := s.write(order[0].day, s.day); err != nil {
				return err
			}
		}
		order = order[n:]
	}
	clear(s.day)
	if !due && s.later.Len() >= laterRows {
		return s.flush()
	}
	return nil
}

// flush writes the connections that waited.
func (s *connTable) flush() error {
	err := s.add(s.later.Conns, true)
	s.later.Reset()
	return err
}

// write writes connections of one day.
func (s *connTable) write(day int64, rows []flow.Connection) error {
	p, err := s.set.part(day)
	if err != nil {
		return err
	}
	if err := s.set.writeConns(p, rows, s.labels); err != nil {
		p.failed = true
		return partError(err)
	}
	return s.set.settle(p)
}

// finish writes what waits and closes the parts. A part that fails is dropped,
// the others are there also after an error. The table is empty then, lost says
// how many of the rows that it took are in no part.
func (s *connTable) finish() (parts []Part, lost int64, err error) {
	if s.err == nil {
		s.err = s.flush()
	}
	s.later.Reset() // also what was not written after an error
	ferr := s.set.finishAll()
	parts, lost, err = s.set.closed, s.taken, cmp.Or(s.err, ferr)
	s.set.closed, s.taken, s.err = nil, 0, nil
	for i := range parts {
		lost -= parts[i].Rows
	}
	return parts, lost, err
}

// intelSink takes intel, as connSink.
type intelSink struct {
	mu     sync.Mutex
	closed bool
	cur    *intelTables
	spare  *intelTables
}

// intelTables is the intel since the last publication, as connTable.
type intelTables struct {
	err    error
	kinds  []kindTable
	labels *labels
	taken  int64
}

// take adds intel. All of it counts as taken, whatever becomes of it.
func (s *intelTables) take(b *flow.IntelBatch) error {
	s.taken += int64(len(b.Recs))
	if s.err == nil {
		s.err = s.add(b)
	}
	return s.err
}

// finish is connTable.finish. The tables are independent of each other, so
// that they are encoded and synced at once.
func (s *intelTables) finish() (parts []Part, lost int64, err error) {
	errs := make([]error, len(s.kinds))
	var g sync.WaitGroup
	for i := range s.kinds {
		k := &s.kinds[i]
		if s.err == nil {
			s.err = k.flush(s.labels)
		}
		if k.later != nil {
			k.later.Reset()
		}
		g.Go(func() { errs[i] = k.set.finishAll() })
	}
	g.Wait()
	lost, err = s.taken, s.err
	for i := range s.kinds {
		set := s.kinds[i].set
		parts = append(parts, set.closed...)
		set.closed = nil
		err = cmp.Or(err, errs[i])
	}
	s.taken, s.err = 0, nil
	for i := range parts {
		lost -= parts[i].Rows
	}
	return parts, lost, err
}

// kindTable takes the intel of one kind.
type kindTable struct {
	kind  flow.Kind
	set   *partSet
	attrs []storedAttr
	later *flow.IntelBatch // as in connTable; nil until needed

	recs  []int32  // records of this kind in the batch
	order []dayRow // scratch space
	day   []int32  // scratch space
}

// add writes every kind's records.
func (s *intelTables) add(b *flow.IntelBatch) error {
	for i := range s.kinds {
		s.kinds[i].recs = s.kinds[i].recs[:0]
	}
	for i := range b.Recs {
		k := &s.kinds[b.Recs[i].Kind]
		k.recs = append(k.recs, int32(i))
	}
	for i := range s.kinds {
		k := &s.kinds[i]
		if err := k.add(b, k.recs, s.labels, false); err != nil {
			return err
		}
	}
	return nil
}

// add writes records of the kind to the parts of their days, as connTable.add.
func (s *kindTable) add(b *flow.IntelBatch, recs []int32, l *labels, due bool) error {
	if len(recs) == 0 {
		return nil
	}
	s.order = s.order[:0]
	same := true
	for _, r := range recs {
		day := dayOf(b.Recs[r].TS.Micro())
		s.order = append(s.order, dayRow{day, r})
		same = same && day == s.order[0].day
	}
	if same && (due || s.set.has(s.order[0].day)) {
		return s.write(s.order[0].day, b, recs, l)
	}
	sortDays(s.order)
	for order := s.order; len(order) > 0; {
		n := sameDay(order)
		wait := !due && !s.set.has(order[0].day)
		s.day = s.day[:0]
		for _, r := range order[:n] {
			if wait {
				s.keep(b, int(r.row))
			} else {
				s.day = append(s.day, r.row)
			}
		}
		if !wait {
			if err := s.write(order[0].day, b, s.day, l); err != nil {
				return err
			}
		}
		order = order[n:]
	}
	if !due && s.later != nil && (s.later.Len() >= laterRows || s.later.Size() >= laterBytes) {
		return s.flush(l)
	}
	return nil
}

// keep copies a record to those that wait.
func (s *kindTable) keep(b *flow.IntelBatch, rec int) {
	if s.later == nil {
		s.later = flow.NewIntelBatch()
	}
	r := &b.Recs[rec]
	s.later.Begin(s.kind, &r.Tuple, r.TS)
	for _, a := range s.attrs {
		if !b.Has(rec, a.attr) {
			continue
		}
		switch a.typ {
		case flow.Text:
			s.later.SetText(a.attr, b.Bytes(rec, a.attr))
		case flow.Count, flow.Bool, flow.Interval:
			s.later.SetInt(a.attr, b.Int(rec, a.attr))
		case flow.TextList:
			s.later.SetEmpty(a.attr)
			for text := range b.Texts(rec, a.attr) {
				s.later.AppendText(a.attr, text)
			}
		case flow.IntervalList:
			s.later.SetEmpty(a.attr)
			for n := range b.Ints(rec, a.attr) {
				s.later.AppendInt(a.attr, n)
			}
		}
	}
}

// flush writes the records that waited.
func (s *kindTable) flush(l *labels) error {
	if s.later == nil {
		return nil
	}
	s.recs = s.recs[:0]
	for i := range s.later.Recs {
		s.recs = append(s.recs, int32(i))
	}
	err := s.add(s.later, s.recs, l, true)
	s.later.Reset()
	return err
}

// write writes records of one day.
func (s *kindTable) write(day int64, b *flow.IntelBatch, recs []int32, l *labels) error {
	p, err := s.set.part(day)
	if err != nil {
		return err
	}
	if err := s.set.writeIntel(p, b, recs, s.attrs, l); err != nil {
		p.failed = true
		return partError(err)
	}
	return s.set.settle(p)
}
