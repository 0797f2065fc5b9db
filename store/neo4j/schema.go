// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/filter"
	"weir/internal/flow"
)

// schemaTimeout bounds making one index: over a hundred million flows that takes
// minutes.
const schemaTimeout = time.Hour

// schemaItem is a constraint or an index.
type schemaItem struct {
	name, label string
	properties  []string
	unique      bool
	// text is an index of texts, of up to 32 kB; others take 8 kB.
	text bool
}

// statement returns the Cypher that makes it where it is missing. Names are ours:
// none comes from a user.
func (i *schemaItem) statement() string {
	list := make([]string, len(i.properties))
	for k, p := range i.properties {
		list[k] = "n." + p
	}
	if i.unique {
		return fmt.Sprintf("CREATE CONSTRAINT %s IF NOT EXISTS FOR (n:%s) REQUIRE (%s) IS UNIQUE",
			i.name, i.label, strings.Join(list, ", "))
	}
	kind := ""
	if i.text {
		kind = "TEXT "
	}
	return fmt.Sprintf("CREATE %sINDEX %s IF NOT EXISTS FOR (n:%s) ON (%s)", kind, i.name, i.label, strings.Join(list, ", "))
}

// schema returns all constraints and indexes.
func schema() []schemaItem {
	var items []schemaItem
	add := func(unique bool, label string, properties ...string) {
		name := strings.ToLower("weir_" + label + "_" + strings.Join(properties, "_"))
		items = append(items, schemaItem{name: name, label: label, properties: properties, unique: unique})
	}
	add(true, "Store", "id")
	add(true, "Host", "addr")
	add(true, "Flow", "key")
	for _, k := range flow.Kinds() {
		add(true, k.Label, "key")
	}
	add(true, "Waiting", "key")
	add(true, "Chunk", "part", "n")
	add(true, "Import", "id")
	add(false, "Host", "sort")
	add(false, "Flow", "dport")
	add(false, "Flow", "proto", "dport")
	add(false, "Flow", "firstseen")
	add(false, "Flow", "lastseen")
	// Nothing is indexed that may be longer than an index takes: the whole
	// transaction would be refused. Names of DNS are short; the host of an HTTP
	// request and the server name of a TLS handshake may have 64 kB.
	// Names whose case does not count are looked for in both forms.
	for _, name := range []string{"query", "query_folded"} {
		add(false, "DNS", name)
		items[len(items)-1].text = true
	}
	return items
}

// Init makes the schema where there is none.
func (d *DB) Init(ctx context.Context) error {
	if err := d.ready(ctx); err != nil {
		e := new(Error)
		if !errors.As(err, &e) || e.Kind != NoStore {
			return err
		}
	}
	if err := d.makeSchema(ctx); err != nil {
		return err
	}
	d.checked.Store(true)
	return nil
}

// makeSchema makes constraints, indexes, and the node that says that they are there.
func (d *DB) makeSchema(ctx context.Context) error {
	if err := d.ensureIndexes(ctx); err != nil {
		return err
	}
	return d.writeUnchecked(ctx, func(t *tx) error {
		_, err := t.run(`MERGE (s:Store {id: 'weir'}) ON CREATE SET s = $new`, map[string]any{"new": d.newStore()})
		return err
	})
}

// newStore returns the properties of the node Store of an empty store.
func (d *DB) newStore() map[string]any {
	return map[string]any{
		"id": "weir", "format": format, "precision": int64(d.cfg.Precision / time.Second),
		"created": filter.CypherTime(time.Now().Truncate(time.Second)),
	}
}

// EnsureIndexes makes the constraints and indexes that are missing, and waits
// until they are there.
func (d *DB) EnsureIndexes(ctx context.Context) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	return d.ensureIndexes(ctx)
}

func (d *DB) ensureIndexes(ctx context.Context) error {
	for _, i := range schema() {
		err := d.makeItem(ctx, &i)
		if e := new(neo4j.Neo4jError); errors.As(err, &e) && strings.HasSuffix(e.Code, "AlreadyExists") {
			// Another process made it at the same time. If the server says so again,
			// there is something else in its place.
			err = d.makeItem(ctx, &i)
		}
		if err != nil {
			return err
		}
	}
	_, err := d.runAlone(ctx, `CALL db.awaitIndexes($seconds)`,
		map[string]any{"seconds": int64(schemaTimeout / time.Second)}, schemaTimeout, nil)
	return err
}

// makeItem makes a constraint or an index where it is missing.
func (d *DB) makeItem(ctx context.Context, i *schemaItem) error {
	return d.retry(ctx, func() error {
		_, err := d.runAlone(ctx, i.statement(), nil, schemaTimeout, nil)
		return err
	}, func() bool { return true }, 0)
}

// precision returns the width of the timeline's slots.
func (d *DB) precision(ctx context.Context) (time.Duration, error) {
	var seconds int64
	// Who only says what would be run needs it, too.
	err := d.transaction(ctx, func() bool { return true }, func(t *tx) error {
		return t.each(`MATCH (s:Store) RETURN s.precision AS precision`, nil, func(r *neo4j.Record) error {
			var err error
			seconds, _, err = neo4j.GetRecordValue[int64](r, "precision")
			return err
		})
	})
	if err == nil && seconds <= 0 {
		err = d.failure(Database, nil, fmt.Sprintf("the store has a precision of %d seconds", seconds))
	}
	return time.Duration(seconds) * time.Second, err
}
