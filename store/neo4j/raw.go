// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/store"
)

// rawBatch is how many rows the server sends ahead.
const rawBatch = 200

// Raw implements store.RawQuerier with Cypher, in a transaction that may only read.
// The query, and taking its rows, may last as long as Config.QueryTimeout.
func (d *DB) Raw(ctx context.Context, text string) (store.Rows, error) {
	rows, err := d.raw(ctx, text, neo4j.AccessModeRead)
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// RawWrite runs Cypher that may change the database. What it changes is there for
// good when Close returned nil.
func (d *DB) RawWrite(ctx context.Context, text string) (*Written, error) {
	rows, err := d.raw(ctx, text, neo4j.AccessModeWrite)
	if err != nil {
		return nil, err
	}
	return &Written{rows}, nil
}

// Written is the result of a query that may change the database.
type Written struct{ *rawRows }

// Changes says what the query changed, as "1 node made, 2 properties set"; "" for
// nothing. It is known once the result was closed.
func (w *Written) Changes() string {
	if w.summary == nil {
		return ""
	}
	var parts []string
	c := w.summary.Counters()
	for _, p := range []struct {
		n         int
		one, many string
		done      string
	}{
		{c.NodesCreated(), "node", "nodes", "made"},
		{c.NodesDeleted(), "node", "nodes", "deleted"},
		{c.RelationshipsCreated(), "relation", "relations", "made"},
		{c.RelationshipsDeleted(), "relation", "relations", "deleted"},
		{c.PropertiesSet(), "property", "properties", "set"},
		{c.LabelsAdded(), "label", "labels", "added"},
		{c.LabelsRemoved(), "label", "labels", "removed"},
		{c.IndexesAdded(), "index", "indexes", "made"},
		{c.IndexesRemoved(), "index", "indexes", "dropped"},
		{c.ConstraintsAdded(), "constraint", "constraints", "made"},
		{c.ConstraintsRemoved(), "constraint", "constraints", "dropped"},
		{c.SystemUpdates(), "setting", "settings", "changed"},
	} {
		switch {
		case p.n == 1:
			parts = append(parts, fmt.Sprintf("1 %s %s", p.one, p.done))
		case p.n > 1:
			parts = append(parts, fmt.Sprintf("%d %s %s", p.n, p.many, p.done))
		}
	}
	return strings.Join(parts, ", ")
}

// raw runs a statement in a transaction of its own, which some need to have.
func (d *DB) raw(outer context.Context, text string, mode neo4j.AccessMode) (*rawRows, error) {
	if err := d.ready(outer); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(outer, d.cfg.QueryTimeout+grace)
	r := &rawRows{d: d, outer: outer, ctx: ctx, cancel: cancel, text: text}
	if mode == neo4j.AccessModeRead {
		if err := d.checkRead(ctx, text); err != nil {
			cancel()
			r.text, r.explaining = explainPrefix+text, true
			return nil, r.explain(err)
		}
	}
	r.session = d.driver.NewSession(ctx, neo4j.SessionConfig{
		AccessMode: mode, DatabaseName: d.where.database, BookmarkManager: d.bookmarks, FetchSize: rawBatch,
	})
	var err error
	r.result, err = r.session.Run(ctx, text, nil, neo4j.WithTxTimeout(d.cfg.QueryTimeout))
	var keys []string
	if err == nil {
		keys, err = r.result.Keys()
	}
	if err == nil && len(keys) == 0 {
		// Nothing to take: so this is when it says what is wrong.
		r.summary, err = r.result.Consume(ctx)
		r.done = true
	}
	if err != nil {
		r.done = true
		return nil, errors.Join(r.explain(err), r.Close())
	}
	for _, k := range keys {
		r.columns = append(r.columns, store.Column{Name: k, Type: "ANY"}) // Cypher has none
	}
	return r, nil
}

// rawRows is the result of a raw query.
type rawRows struct {
	d *DB
	// outer is the caller's context, ctx has a time limit besides; they last until Close.
	outer, ctx context.Context
	cancel     context.CancelFunc
	// text is what the server was given, explaining says that it begins with explainPrefix.
	text       string
	explaining bool
	session    neo4j.SessionWithContext
	result     neo4j.ResultWithContext
	columns    []store.Column
	// summary is nil as long as the query goes on, or where it failed.
	summary neo4j.ResultSummary
	// done says that all was taken, or that there was an error.
	done, closed bool
}

// Columns implements store.Rows.
func (r *rawRows) Columns() []store.Column { return r.columns }

// All implements store.Rows.
func (r *rawRows) All() iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		row := make([]any, len(r.columns))
		for !r.done && r.result.Next(r.ctx) {
			for i, v := range r.result.Record().Values {
				row[i] = rawValue(v)
			}
			if !yield(row, nil) {
				return
			}
		}
		if r.done {
			return
		}
		r.done = true
		err := r.result.Err()
		if err == nil {
			r.summary, err = r.result.Consume(r.ctx)
		}
		if err != nil {
			yield(nil, r.explain(err))
		}
	}
}

// Close implements io.Closer: it leaves out the rows that were not taken.
func (r *rawRows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	defer r.cancel()
	var err error
	if !r.done {
		r.summary, err = r.result.Consume(r.ctx)
	}
	closeSession(r.ctx, r.session)
	if err != nil && r.outer.Err() != nil {
		return nil // whoever ended it knows
	}
	return r.explain(err)
}

// explain turns what the server says about the query into a *store.QueryError.
func (r *rawRows) explain(err error) error {
	if e := new(store.QueryError); errors.As(err, &e) {
		return err
	}
	err = r.d.explain(r.outer, err)
	own, e := new(Error), new(neo4j.Neo4jError)
	if !errors.As(err, &own) || own.Kind != Query || !errors.As(err, &e) {
		return err
	}
	if e.Code == "Neo.ClientError.Statement.AccessMode" {
		return &store.QueryError{Msg: "this changes the database, and only reading is allowed here", Offset: -1, Writes: true}
	}
	// The first line is the message; the rest shows the query and the place.
	msg, _, _ := strings.Cut(e.Msg, "\n")
	offset := -1
	if m := regexp.MustCompile(`^(.*?)\s*\(line \d+, column \d+ \(offset: (\d+)\)\)`).FindStringSubmatch(strings.ReplaceAll(e.Msg, "\n", " ")); m != nil {
		msg = m[1]
		if n, err := strconv.Atoi(m[2]); err == nil {
			offset = byteOffset(r.text, n)
			if rest, ok := strings.CutPrefix(r.text, explainPrefix); ok && r.explaining {
				offset = min(max(offset-len(explainPrefix), 0), len(rest))
			}
		}
	}
	return &store.QueryError{Msg: oneLine(errors.New(msg)), Offset: offset}
}

// byteOffset returns where in a text the nth unit of its UTF-16 form is, in bytes.
func byteOffset(text string, n int) int {
	for i, c := range text {
		if n <= 0 {
			return i
		}
		if n--; c >= 0x10000 && c != utf8.RuneError {
			n--
		}
	}
	return len(text)
}

// rawValue turns a value of the driver into one that store.Rows may hold.
func rawValue(v any) any {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, []byte, time.Time:
		return v
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = rawValue(v[i])
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for k := range v {
			m[k] = rawValue(v[k])
		}
		return m
	case neo4j.Node:
		labels := make([]any, len(v.Labels))
		for i, l := range v.Labels {
			labels[i] = l
		}
		return map[string]any{"labels": labels, "properties": rawValue(v.Props)}
	case neo4j.Relationship:
		return map[string]any{"type": v.Type, "properties": rawValue(v.Props)}
	case neo4j.Path:
		// Nodes and the relations between them in turn.
		var list []any
		for i, n := range v.Nodes {
			if list = append(list, rawValue(n)); i < len(v.Relationships) {
				list = append(list, rawValue(v.Relationships[i]))
			}
		}
		return list
	case neo4j.Point2D:
		return fmt.Sprintf("point({srid: %d, x: %v, y: %v})", v.SpatialRefId, v.X, v.Y)
	case neo4j.Point3D:
		return fmt.Sprintf("point({srid: %d, x: %v, y: %v, z: %v})", v.SpatialRefId, v.X, v.Y, v.Z)
	}
	// Dates, times without a zone, durations.
	return fmt.Sprint(v)
}
