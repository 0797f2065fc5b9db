// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/internal/flow"
)

// Writer is one import on its way into the store. Connections and Intel may be
// called at the same time; what was written becomes visible with Publish or
// Commit only.
type Writer struct {
	lake *Lake
	dir  string
	lock *os.File

	conn  connSink
	intel intelSink

	// state guards what follows; Publish, Commit and Abort hold it while they
	// run, together with the locks of the sinks.
	state     sync.Mutex
	imp       Import
	finished  bool
	published bool
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
	w := &Writer{lake: l, imp: imp}
	w.imp.Version = l.version
	if w.dir, w.lock, err = l.claim(imp.ID); err != nil {
		return nil, fmt.Errorf("begin import: %w", err)
	}
	w.conn.set = w.newSet(Table{Name: ConnTable, Columns: ConnColumns()}, c)
	w.conn.labels = newLabels(imp.Sensor)
	w.intel.labels = newLabels(imp.Sensor)
	kinds := flow.Kinds()
	w.intel.kinds = make([]kindSink, len(kinds))
	for i := range kinds {
		t := Table{Name: kinds[i].Name, Columns: IntelColumns(flow.Kind(i))}
		w.intel.kinds[i] = kindSink{
			kind: flow.Kind(i),
			set:  w.newSet(t, c), attrs: storedAttrs(&kinds[i]),
		}
	}
	return w, nil
}

// ID returns the identifier of the import.
func (w *Writer) ID() string { return w.imp.ID }

// Connections adds connections; the batch may be reused after the call.
func (w *Writer) Connections(b *flow.ConnBatch) error {
	s := &w.conn
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := sinkError(s.closed, s.err); err != nil {
		return err
	}
	s.err = s.add(b.Conns, false)
	return s.err
}

// Intel adds intel; the batch may be reused after the call.
func (w *Writer) Intel(b *flow.IntelBatch) error {
	s := &w.intel
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := sinkError(s.closed, s.err); err != nil {
		return err
	}
	s.err = s.add(b)
	return s.err
}

// Publish makes what was written so far visible; the import goes on.
func (w *Writer) Publish(f Final) error {
	unlock := w.lockAll()
	defer unlock()
	if w.finished {
		return fmt.Errorf("publish import %s: %w", w.imp.ID, ErrFinished)
	}
	if err := w.commit(f, true); err != nil {
		return fmt.Errorf("publish import %s: %w", w.imp.ID, err)
	}
	return nil
}

// Commit ends the import: in one step all that was written is in the store,
// and the imports that f replaces are not. After an error nothing is; what was
// published before stays.
func (w *Writer) Commit(f Final) error {
	unlock := w.lockAll()
	defer unlock()
	if w.finished {
		return fmt.Errorf("commit import %s: %w", w.imp.ID, ErrFinished)
	}
	err := w.commit(f, false)
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

// finish closes everything and removes the import's directory.
func (w *Writer) finish() error {
	w.finished, w.conn.closed, w.intel.closed = true, true, true
	w.conn.set.discard()
	for i := range w.intel.kinds {
		w.intel.kinds[i].set.discard()
	}
	return w.removeDir()
}

// removeDir removes the import's directory and gives up its lock.
func (w *Writer) removeDir() error { return release(w.dir, w.lock) }

// sets returns the parts of every table.
func (w *Writer) sets() []*partSet {
	sets := []*partSet{w.conn.set}
	for i := range w.intel.kinds {
		sets = append(sets, w.intel.kinds[i].set)
	}
	return sets
}

// commit closes the parts and puts them into the store.
func (w *Writer) commit(f Final, more bool) error {
	// One reason is enough: mostly both are the same full disk.
	if err := cmp.Or(w.conn.err, w.intel.err); err != nil {
		return err
	}
	if err := w.closeParts(); err != nil {
		w.conn.err = err
		return err
	}
	var parts []Part
	for _, s := range w.sets() {
		parts = append(parts, s.closed...)
	}
	if more && w.published && len(parts) == 0 && len(f.Replace) == 0 {
		return nil
	}
	imp := w.describe(f, more)
	err := w.lake.locked(func() error { return w.lake.add(imp, parts, f.Replace, w) })
	if err != nil && !isUnsynced(err) {
		return err
	}
	for _, s := range w.sets() {
		s.closed = s.closed[:0]
	}
	w.published = true
	return err
}

// closeParts writes what waits and closes the parts of every table.
func (w *Writer) closeParts() error {
	if err := w.conn.flush(); err != nil {
		return err
	}
	for i := range w.intel.kinds {
		if err := w.intel.kinds[i].flush(w.intel.labels); err != nil {
			return err
		}
	}
	// The tables are independent of each other: encode and sync them at once.
	var g errgroup.Group
	for _, s := range w.sets() {
		g.Go(s.finishAll)
	}
	return g.Wait()
}

// describe returns the import as the manifest has it.
func (w *Writer) describe(f Final, more bool) Import {
	imp := w.imp
	if f.Inputs != nil {
		imp.Inputs = f.Inputs
	}
	imp.Time = time.Now().UTC().Truncate(time.Microsecond)
	imp.Packets, imp.Truncated, imp.Open = f.Packets, f.Truncated, more
	imp.Connections = w.conn.count
	imp.Intel = make(map[string]int64)
	span := w.conn.span
	for i := range w.intel.kinds {
		k := &w.intel.kinds[i]
		if k.count > 0 {
			imp.Intel[k.set.table.Name] = k.count
			span.add(k.span.first, k.span.last)
		}
	}
	imp.First, imp.Last = span.first, span.last
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
	m.Parts = append(m.Parts, parts...)
	if known := m.Find(imp.ID); known != nil {
		*known = imp
	} else {
		m.Imports = append(m.Imports, imp)
	}
	if err := l.replaceManifest(m); err != nil {
		return err
	}
	// The import is in the store; what goes wrong with old files from here on
	// is mended by the next sweep.
	if err := l.retire(old); err != nil {
		l.log.Warn("retire parts", slog.Any("err", err))
	}
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
