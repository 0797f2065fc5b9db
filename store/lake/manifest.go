// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"weir/store"
)

// Format is the newest version of the layout that this package knows. It writes the
// least one that says all, so that older programs read what they understand.
const Format = formatSlots

// Versions of the layout.
const (
	formatFirst = 1
	// formatSlots has slots of time of another width than SlotWidth, which older programs
	// would not know of.
	formatSlots = 2
)

// Manifest is the content of the store: what it does not name does not exist.
type Manifest struct {
	// Format is the version of the layout.
	Format int `json:"format"`
	// Generation grows by one with every change.
	Generation int64 `json:"generation"`
	// Slot is the width of the slots of time in seconds, 0 for SlotWidth.
	Slot int64 `json:"slot,omitempty"`
	// Parts are the files that make up the tables.
	Parts []Part `json:"parts"`
	// Imports are the sources that the parts came from.
	Imports []Import `json:"imports"`
}

// Part is one immutable Parquet file.
type Part struct {
	// Kind is the name of the table.
	Kind string `json:"kind"`
	// Day is the UTC day of the rows, as 2026-11-23.
	Day string `json:"day"`
	// Path is the file's name relative to the store, with slashes.
	Path string `json:"path"`
	// Rows is the number of rows.
	Rows int64 `json:"rows"`
	// Conns is the number of connections that the rows of a conn part count.
	Conns int64 `json:"conns,omitempty"`
	// Bytes is the size of the file.
	Bytes int64 `json:"bytes"`
	// MinTS and MaxTS bound the rows' times in microseconds: the first
	// firstseen and the last lastseen of connections, ts of intel.
	MinTS int64 `json:"min_ts"`
	MaxTS int64 `json:"max_ts"`
	// Sum is the XXH3-64 of the file, in hexadecimal.
	Sum string `json:"sum"`
	// Import is the id of the import that wrote the part, "" where parts of
	// several imports were merged (of such that nothing can replace).
	Import string `json:"import"`
	// Schema is the version of the columns, see Table.
	Schema int `json:"schema,omitempty"`
	// Partial is how many rows of a conn part are one of several records of
	// their connection: interim records and what follows them.
	Partial int64 `json:"partial,omitempty"`
	// Generation is that of the manifest with which the newest rows came in.
	// Merging parts does not make rows newer.
	Generation int64 `json:"generation,omitempty"`
	// Footer is the length of the file's end that describes the rest (Parquet's
	// page index, metadata, the length of it and the magic number), FooterSum the
	// XXH3-64 of it; PageSum is the XXH3-64 of the headers of all pages.
	Footer    int64  `json:"footer,omitempty"`
	FooterSum string `json:"footer_sum,omitempty"`
	PageSum   string `json:"page_sum,omitempty"`
	// Rollup is the id of the roll-up that covers a conn part, or that a roll-up's
	// part belongs to. A roll-up covers all rows of the conn parts that name it,
	// and only these.
	Rollup string `json:"rollup,omitempty"`
	// Week is the id of the roll-up of a week that covers a part of a day's roll-up, or that
	// a part belongs to, in the same way.
	Week string `json:"week,omitempty"`
}

// Import is one source that was read into the store.
type Import struct {
	ID string `json:"id"`
	// Sensor is the name given to the source's rows.
	Sensor string `json:"sensor"`
	// Time is when the import was last committed.
	Time time.Time `json:"time"`
	// Source is the kind of source: "capture", "stdin", "live", "log".
	Source string  `json:"source"`
	Inputs []Input `json:"inputs,omitempty"`
	// Options is the canonical text of every option that changes the result.
	Options string `json:"options,omitempty"`
	// Packets is the number of packets read; Connections counts connections,
	// Intel the records of each kind.
	Packets     uint64           `json:"packets"`
	Connections int64            `json:"connections"`
	Intel       map[string]int64 `json:"intel,omitempty"`
	// First and Last bound the times of the connections and intel, in
	// microseconds; both are 0 where there are none.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// Version is the version of weir that wrote the parts.
	Version string `json:"version,omitempty"`
	// Truncated says that a part of an input was skipped.
	Truncated bool `json:"truncated,omitempty"`
	// Damaged says that parts were dropped because they were damaged. Reading the
	// inputs again needs the replacement of what is left.
	Damaged bool `json:"damaged,omitempty"`
	// Lost is the number of records that could not be stored.
	Lost int64 `json:"lost,omitempty"`
	// Open says that the import goes on, or was killed: it was published, and
	// not committed yet.
	Open bool `json:"open,omitempty"`
	// Killed says that the import's process ended without saying so: what it
	// had published is there, the rest is not.
	Killed bool `json:"killed,omitempty"`
}

// Status describes the import as stores do.
func (i *Import) Status() store.ImportStatus {
	s := store.ImportStatus{
		ID: i.ID, Time: i.Time.UTC(), Sensor: i.Sensor, Source: i.Source, Options: i.Options,
		Packets: i.Packets, Connections: i.Connections, Intel: i.Intel, Truncated: i.Truncated,
		Open: i.Open, Killed: i.Killed, Damaged: i.Damaged, Lost: i.Lost,
	}
	for j := range i.Inputs {
		s.Inputs = append(s.Inputs, i.Inputs[j].Name)
	}
	return s
}

// Input is one file of an import and what identifies its content.
type Input struct {
	Name string `json:"name"`
	// Sum is the XXH3-128 of the whole content in hexadecimal, "" where the
	// input has no identity (a pipe, an interface).
	Sum string `json:"sum,omitempty"`
	// Head is the sum of the first HeadLen bytes, the smaller one of HeadLen
	// and the file's size.
	Head    string `json:"head,omitempty"`
	HeadLen int64  `json:"head_len,omitempty"`
	Size    int64  `json:"size"`
}

// Find returns the import with an id, nil if there is none.
func (m *Manifest) Find(id string) *Import {
	for i := range m.Imports {
		if m.Imports[i].ID == id {
			return &m.Imports[i]
		}
	}
	return nil
}

// The manifest starts with a field that holds the XXH3-64 of everything behind
// it, so that a damaged file is noticed before its numbers are believed.
const (
	sumPrefix = `{"sum":"`
	sumDigits = 16
)

// encode returns the manifest's file.
func (m *Manifest) encode() ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	rest := append([]byte(`",`), body[1:]...)
	rest = append(rest, '\n')
	out := make([]byte, 0, len(sumPrefix)+sumDigits+len(rest))
	out = append(out, sumPrefix...)
	out = fmt.Appendf(out, "%016x", xxh3.Hash(rest))
	return append(out, rest...), nil
}

// ReadManifest reads the manifest of the store at path.
func ReadManifest(path string) (*Manifest, error) {
	m, err := readManifestFile(filepath.Join(path, manifestName))
	if missing(err) {
		return nil, fmt.Errorf("%s: %w (it has no %s)", path, ErrNotStore, manifestName)
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest of %s: %w", path, err)
	}
	return m, nil
}

// readManifestFile reads a file that holds a manifest.
func readManifestFile(name string) (*Manifest, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return parseManifest(data)
}

// badManifest says what is wrong with a manifest.
func badManifest(format string, args ...any) error {
	return &DamagedError{manifestName, fmt.Sprintf(format, args...)}
}

// parseManifest decodes a manifest's file.
func parseManifest(data []byte) (*Manifest, error) {
	summed := bytes.HasPrefix(data, []byte(sumPrefix)) && len(data) >= len(sumPrefix)+sumDigits
	if summed {
		rest := data[len(sumPrefix)+sumDigits:]
		want := string(data[len(sumPrefix) : len(sumPrefix)+sumDigits])
		if got := formatSum(xxh3.Hash(rest)); got != want {
			return nil, badManifest("its checksum is %s, not %s", got, want)
		}
	}
	m := new(Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, badManifest("%v", err)
	}
	switch {
	case m.Format > Format: // of which nothing else is known, not even the sum
		return nil, fmt.Errorf("%w: %d, this program knows %d; use a newer weir",
			ErrNewerFormat, m.Format, Format)
	case !summed:
		return nil, badManifest("it does not begin with its checksum")
	case m.Format < formatFirst:
		return nil, badManifest("format %d", m.Format)
	case !m.slotFits():
		return nil, badManifest("slots of %d seconds", m.Slot)
	}
	for i := range m.Parts {
		if p := m.Parts[i].Path; !filepath.IsLocal(filepath.FromSlash(p)) {
			return nil, badManifest("part %q lies outside the store", p)
		}
	}
	// A weir that knows no roll-ups of weeks and changed the store wrote the manifest
	// without what says of which days they are: their flows would count twice.
	m.Parts = slices.DeleteFunc(m.Parts, func(p Part) bool { return p.Kind == WeekTable && p.Week == "" })
	return m, nil
}

// replaceManifest makes m the store's manifest, under the lock. It is durable
// on return; on an error the old manifest is in place, except where only the
// last sync of the directory failed.
func (l *Lake) replaceManifest(m *Manifest) error {
	m.Format = m.leastFormat()
	m.Generation++
	if m.Parts == nil {
		m.Parts = []Part{}
	}
	if m.Imports == nil {
		m.Imports = []Import{}
	}
	data, err := m.encode()
	if err != nil {
		return err
	}
	name := l.join(newManifestName)
	if err := writeNew(name, data, true); err != nil {
		// The error that matters is the first one.
		_ = os.Remove(name)
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := l.give(name); err != nil {
		_ = os.Remove(name)
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := os.Rename(name, l.join(manifestName)); err != nil {
		_ = os.Remove(name)
		return fmt.Errorf("replace manifest: %w", err)
	}
	if err := syncDir(l.path); err != nil {
		return &unsyncedError{fmt.Errorf("sync store: %w", err)}
	}
	// The copy is for a disk that forgets. It is not synced: where power fails
	// in between, the manifest itself is good.
	name = l.join(copyName)
	if err := cmp.Or(writeNew(name, data, false), l.give(name)); err != nil {
		_ = os.Remove(name) // a part of it is of no use
		l.log.Warn("copy manifest", slog.Any("err", err))
	}
	return nil
}

// unsyncedError says that the new manifest is in place but may not survive a
// power failure: the parts that it names must stay.
type unsyncedError struct{ err error }

func (e *unsyncedError) Error() string { return e.err.Error() }
func (e *unsyncedError) Unwrap() error { return e.err }

// isUnsynced reports whether err is an unsyncedError.
func isUnsynced(err error) bool {
	var unsynced *unsyncedError
	return errors.As(err, &unsynced)
}

// writeNew writes a new file in place of any that has the name, and makes its
// content durable if synced is set. It follows no symbolic link.
func writeNew(name string, data []byte, synced bool) error {
	if err := os.Remove(name); err != nil && !missing(err) {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && synced {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
