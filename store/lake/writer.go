// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/internal/flow"
)

// Writer is one import on its way into the store. Connections and Intel may be
// called at the same time, also while Publish runs, which they do not wait for;
// what was written becomes visible with Publish or Commit only.
//
// Every record that Connections and Intel are given counts as taken. From
// there on it is published, lost, or waits for a publication: Published, Lost
// and Unpublished say how many are which.
type Writer struct {
	lake  *Lake
	dir   string
	lock  *os.File
	codec *codec
	seqs  []atomic.Int64 // of the parts, for each table

	conn  connSink
	intel intelSink

	// pending counts connections since the last publication was tried.
	pending                                                          atomic.Int64
	takenConns, takenIntel, pubConns, pubIntel, lostConns, lostIntel atomic.Int64

	// state guards what follows; Publish, Commit and Abort hold it while they
	// run. Who holds it may take the locks of the sinks, not the other way round.
	state     sync.Mutex
	imp       Import
	total     totals // of what was published
	waiting   []Part // parts of publications that did not come about
	finished  bool
	published bool
}

// Records is a number of records: rows, of which a long connection may have
// several.
type Records struct{ Conns, Intel int64 }

// Published returns how many records are in the store.
func (w *Writer) Published() Records { return Records{w.pubConns.Load(), w.pubIntel.Load()} }

// Lost returns how many records were taken and will not be in the store: their
// parts could not be written.
func (w *Writer) Lost() Records { return Records{w.lostConns.Load(), w.lostIntel.Load()} }

// Unpublished returns how many records were taken and are neither in the store
// nor lost.
func (w *Writer) Unpublished() Records {
	// In this order, so that a publication in between does not make it negative.
	pub, lost := w.Published(), w.Lost()
	return Records{
		w.takenConns.Load() - pub.Conns - lost.Conns,
		w.takenIntel.Load() - pub.Intel - lost.Intel,
	}
}

// Pending returns how many connections were taken since the last call of
// Publish.
func (w *Writer) Pending() int64 { return w.pending.Load() }

// totals sums up parts.
type totals struct {
	conns, rows, intelRows int64
	intel                  map[string]int64
	span                   timeSpan
}

// add returns the totals with further parts.
func (t totals) add(parts []Part) totals {
	kinds := make(map[string]int64, len(t.intel))
	maps.Copy(kinds, t.intel)
	t.intel = kinds
	for i := range parts {
		p := &parts[i]
		t.span.add(p.MinTS, p.MaxTS)
		if p.Kind == ConnTable {
			t.conns += p.Conns
			t.rows += p.Rows
			continue
		}
		t.intel[p.Kind] += p.Rows
		t.intelRows += p.Rows
	}
	return t
}

// Final is what is known at the end of an import, or so far.
type Final struct {
	// Inputs replace those given to Begin, unless nil.
	Inputs []Input
	// Packets is the number of packets read.
	Packets uint64
	// Truncated says that a part of an input was skipped.
	Truncated bool
	// Replace lists imports that leave the store in the same step.
	Replace []string
}

// Begin starts an import. Of imp it uses ID (random if empty), Sensor, Source,
// Inputs and Options; the rest is filled in by the writer.
func (l *Lake) Begin(imp Import) (*Writer, error) {
	if imp.ID == "" {
		imp.ID = newID()
	}
	if imp.ID != filepath.Base(imp.ID) || imp.ID[0] == '.' {
		return nil, fmt.Errorf("begin import: %q is no file name", imp.ID)
	}
	c, err := newCodec()
	if err != nil {
		return nil, fmt.Errorf("begin import: %w", err)
	}
	w := &Writer{lake: l, imp: imp, codec: c}
	w.seqs = make([]atomic.Int64, 1+len(flow.Kinds()))
	w.imp.Version = l.version
	if w.dir, w.lock, err = l.claim(imp.ID); err != nil {
		return nil, fmt.Errorf("begin import: %w", err)
	}
	w.conn.cur, w.intel.cur = w.newConnTable(), w.newIntelTables()
	return w, nil
}

// newSet returns the parts of a table within the import; n is its number.
func (w *Writer) newSet(t Table, n int) *partSet {
	return &partSet{
		table: t, schema: schemaOf(&t), dir: w.dir, id: w.imp.ID, vers: w.imp.Version,
		codec: w.codec, seq: &w.seqs[n],
	}
}

func (w *Writer) newConnTable() *connTable {
	return &connTable{
		set:    w.newSet(Conns(), 0),
		labels: newLabels(w.imp.Sensor),
	}
}

func (w *Writer) newIntelTables() *intelTables {
	kinds := flow.Kinds()
	s := &intelTables{labels: newLabels(w.imp.Sensor), kinds: make([]kindTable, len(kinds))}
	for i := range kinds {
		t := Table{Name: kinds[i].Name, Columns: IntelColumns(flow.Kind(i))}
		s.kinds[i] = kindTable{
			kind: flow.Kind(i), set: w.newSet(t, 1+i), attrs: storedAttrs(&kinds[i]),
		}
	}
	return s
}

// ID returns the identifier of the import.
func (w *Writer) ID() string { return w.imp.ID }

// Connections adds connections; the batch may be reused after the call. After
// an error nothing more is written until the next Publish, and what comes in is
// lost.
func (w *Writer) Connections(b *flow.ConnBatch) error {
	s := &w.conn
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrFinished
	}
	w.takenConns.Add(int64(len(b.Conns)))
	w.pending.Add(int64(len(b.Conns)))
	return s.cur.take(b.Conns)
}

// Intel adds intel, as Connections.
func (w *Writer) Intel(b *flow.IntelBatch) error {
	s := &w.intel
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrFinished
	}
	w.takenIntel.Add(int64(len(b.Recs)))
	return s.cur.take(b)
}

// Publish makes what was written so far visible, connections and intel in one
// step; the import goes on. Connections and Intel do not wait for it.
//
// After an error the store is as it was before the call, and the import goes
// on as well: records whose parts could not be written are lost, the other ones
// come into the store with the next publication.
func (w *Writer) Publish(f Final) error {
	w.state.Lock()
	defer w.state.Unlock()
	if w.finished {
		return fmt.Errorf("publish import %s: %w", w.imp.ID, ErrFinished)
	}
	if err := w.publish(f); err != nil {
		return fmt.Errorf("publish import %s: %w", w.imp.ID, err)
	}
	return nil
}

// publish is Publish, under the lock of the state.
func (w *Writer) publish(f Final) error {
	w.pending.Store(0)
	// While the store does not take what waits, nothing is added to it: rows
	// stay in parts that grow to their full size.
	if len(w.waiting) > 0 {
		if err := w.commit(f, true); err != nil {
			return err
		}
		f.Replace = nil
	}
	conn, intel := w.swap()
	if conn != nil {
		err := w.collect(conn, intel)
		w.conn.spare, w.intel.spare = conn, intel
		if err != nil {
			return err
		}
	}
	if w.published && len(w.waiting) == 0 && len(f.Replace) == 0 {
		return nil
	}
	return w.commit(f, true)
}

// swap takes out what was written so far, connections and intel of the same
// moment; the sinks go on with empty tables. It returns nil where there is
// nothing.
func (w *Writer) swap() (*connTable, *intelTables) {
	// Tables are made outside of the sinks' locks.
	if w.conn.spare == nil {
		w.conn.spare, w.intel.spare = w.newConnTable(), w.newIntelTables()
	}
	w.conn.mu.Lock()
	defer w.conn.mu.Unlock()
	w.intel.mu.Lock()
	defer w.intel.mu.Unlock()
	conn, intel := w.conn.cur, w.intel.cur
	if conn.taken == 0 && intel.taken == 0 {
		return nil, nil
	}
	w.conn.cur, w.intel.cur = w.conn.spare, w.intel.spare
	w.conn.spare, w.intel.spare = nil, nil
	return conn, intel
}

// collect closes the parts of tables; those that could be written wait for
// their commit then.
func (w *Writer) collect(conn *connTable, intel *intelTables) error {
	var g errgroup.Group
	var conns, intels []Part
	var lostConns, lostIntel int64
	var connErr, intelErr error
	g.Go(func() error { conns, lostConns, connErr = conn.finish(); return nil })
	g.Go(func() error { intels, lostIntel, intelErr = intel.finish(); return nil })
	_ = g.Wait() // the errors are in the variables
	w.waiting = append(append(w.waiting, conns...), intels...)
	w.lostConns.Add(lostConns)
	w.lostIntel.Add(lostIntel)
	// One reason is enough: mostly both are the same full disk.
	err := cmp.Or(connErr, intelErr)
	if err != nil {
		err = fmt.Errorf("%w (%d connections and %d intel records are lost)", err, lostConns, lostIntel)
	}
	return err
}

// Commit ends the import: in one step all that was written is in the store,
// and the imports that f replaces are not. After an error nothing is. Only of an
// import that was published, which nobody can read again, all is in the store that
// can be, as with Publish.
func (w *Writer) Commit(f Final) error {
	unlock := w.lockAll()
	defer unlock()
	if w.finished {
		return fmt.Errorf("commit import %s: %w", w.imp.ID, ErrFinished)
	}
	err := w.collect(w.conn.cur, w.intel.cur)
	if err == nil || w.published {
		err = cmp.Or(err, w.commit(f, false))
	}
	if cerr := w.finish(); err == nil && cerr != nil {
		// The import is in the store. What is left is swept at the next start.
		w.lake.log.Warn("remove files of an import", slog.Any("err", cerr))
	}
	if err != nil {
		return fmt.Errorf("commit import %s: %w", w.imp.ID, err)
	}
	return nil
}

// Abort drops what was not published. After Commit it does nothing, so that it
// can be deferred.
func (w *Writer) Abort() error {
	unlock := w.lockAll()
	defer unlock()
	if w.finished {
		return nil
	}
	if err := w.finish(); err != nil {
		return fmt.Errorf("abort import %s: %w", w.imp.ID, err)
	}
	return nil
}

// lockAll stops every other call.
func (w *Writer) lockAll() (unlock func()) {
	w.state.Lock()
	w.conn.mu.Lock()
	w.intel.mu.Lock()
	return func() {
		w.intel.mu.Unlock()
		w.conn.mu.Unlock()
		w.state.Unlock()
	}
}

// finish closes everything and removes the import's directory. What is not in
// the store is lost.
func (w *Writer) finish() error {
	w.finished, w.conn.closed, w.intel.closed = true, true, true
	w.conn.cur.set.discard()
	for i := range w.intel.cur.kinds {
		w.intel.cur.kinds[i].set.discard()
	}
	left := w.Unpublished()
	w.lostConns.Add(left.Conns)
	w.lostIntel.Add(left.Intel)
	w.pending.Store(0)
	return w.removeDir()
}

// removeDir removes the import's directory and gives up its lock.
func (w *Writer) removeDir() error { return release(w.dir, w.lock) }

// commit puts the parts that wait into the store.
func (w *Writer) commit(f Final, more bool) error {
	total := w.total.add(w.waiting)
	imp := w.describe(f, &total, more)
	err := w.lake.locked(func() error { return w.lake.add(imp, w.waiting, f.Replace, w) })
	if err != nil && !isUnsynced(err) {
		return err
	}
	w.total, w.waiting, w.published = total, nil, true
	w.pubConns.Store(total.rows)
	w.pubIntel.Store(total.intelRows)
	return err
}

// describe returns the import as the manifest has it.
func (w *Writer) describe(f Final, t *totals, more bool) Import {
	imp := w.imp
	if f.Inputs != nil {
		imp.Inputs = f.Inputs
	}
	imp.Time = time.Now().UTC().Truncate(time.Microsecond)
	imp.Packets, imp.Truncated, imp.Open = f.Packets, f.Truncated, more
	lost := w.Lost()
	imp.Lost = lost.Conns + lost.Intel
	imp.Connections, imp.Intel = t.conns, t.intel
	imp.First, imp.Last = t.span.first, t.span.last
	return imp
}

// add puts an import and its parts into the store, under the lock. On an error
// the manifest is as it was, and the parts are back in w's directory.
func (l *Lake) add(imp Import, parts []Part, replace []string, w *Writer) (err error) {
	m, err := ReadManifest(l.path)
	if err != nil {
		return err
	}
	if !w.published && m.Find(imp.ID) != nil {
		return fmt.Errorf("there is an import %s already", imp.ID)
	}
	old := m.drop(replace)
	if err := m.checkDuplicate(&imp); err != nil {
		return err
	}
	undo, err := l.place(w.dir, parts)
	defer func() {
		if err != nil && !isUnsynced(err) {
			undo()
		}
	}()
	if err != nil {
		return err
	}
	for _, p := range parts {
		p.Generation = m.Generation + 1
		m.Parts = append(m.Parts, p)
	}
	if known := m.Find(imp.ID); known != nil {
		*known = imp
	} else {
		m.forgetEnded()
		m.Imports = append(m.Imports, imp)
	}
	if err := l.replaceManifest(m); err != nil {
		return err
	}
	l.discard(old)
	return nil
}

// drop takes imports out of the manifest and returns their parts.
func (m *Manifest) drop(ids []string) []Part {
	if len(ids) == 0 {
		return nil
	}
	m.Imports = slices.DeleteFunc(m.Imports, func(i Import) bool { return slices.Contains(ids, i.ID) })
	return m.removeParts(func(p *Part) bool { return slices.Contains(ids, p.Import) })
}

// checkDuplicate refuses an import of which an input came in meanwhile.
func (m *Manifest) checkDuplicate(imp *Import) error {
	for i := range m.Imports {
		other := &m.Imports[i]
		if other.ID == imp.ID {
			continue
		}
		for j := range other.Inputs {
			for k := range imp.Inputs {
				in := &imp.Inputs[k]
				if in.Sum != "" && in.Sum == other.Inputs[j].Sum && in.Size == other.Inputs[j].Size {
					return fmt.Errorf("%w: %s, import %s", ErrAlreadyImported, in.Name, other.ID)
				}
			}
		}
	}
	return nil
}
