// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/filter"
	"weir/internal/flow"
)

// batch is how many nodes one transaction removes or changes: enough that
// commits cost little, few enough that it holds locks for a moment and takes
// little memory of the server.
const batch = 1000

// Purge removes everything that weir keeps in the database, in batches, and
// makes the schema anew. progress is called with the number of nodes removed so
// far; it may be nil.
func (d *DB) Purge(ctx context.Context, progress func(nodes int64)) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	// Flows first: with them go most relations, so that no host has many when it
	// goes. Intel of all kinds has the label Intel.
	var removed int64
	for _, label := range []string{"Flow", "Waiting", "Intel", "Host", "Chunk", "Import"} {
		for {
			var n int64
			err := d.write(ctx, func(t *tx) error {
				return t.each("MATCH (n:"+label+") WITH n LIMIT $batch DETACH DELETE n RETURN count(*) AS n",
					map[string]any{"batch": batch}, integer("n", &n))
			})
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			if removed += n; progress != nil {
				progress(removed)
			}
		}
	}
	err := d.write(ctx, func(t *tx) error {
		_, err := t.run(`MATCH (s:Store {id: 'weir'}) SET s = $new`, map[string]any{"new": d.newStore()})
		return err
	})
	if err != nil {
		return err
	}
	return d.Init(ctx)
}

// integer returns a function that takes a number from a record.
func integer(name string, n *int64) func(*neo4j.Record) error {
	return func(r *neo4j.Record) (err error) {
		*n, _, err = neo4j.GetRecordValue[int64](r, name)
		return err
	}
}

// Expired says what Expire removed, or would remove.
type Expired struct {
	Flows  int64     `json:"flows"`
	Intel  int64     `json:"intel"`
	Hosts  int64     `json:"hosts"`
	Newest time.Time `json:"newest"`
}

// Expire removes the flows that were seen before a time for the last time, then
// intel and hosts that belong to no flow any more, in batches. With dryRun it
// only counts the flows. It may run while records come in: what came in anew
// stays, with what it belongs to.
func (d *DB) Expire(ctx context.Context, before time.Time, dryRun bool) (Expired, error) {
	var e Expired
	params := map[string]any{"before": filter.CypherTime(before)}
	err := d.read(ctx, `MATCH (f:Flow) WHERE f.lastseen < $before RETURN count(f) AS n, max(f.lastseen) AS newest`, params,
		func(r *neo4j.Record) error {
			if t, ok := r.Values[1].(time.Time); ok {
				e.Newest = t.UTC()
			}
			return integer("n", &e.Flows)(r)
		})
	if err != nil || dryRun {
		return e, err
	}
	// All of them look again at what they remove, with locks on it: a node that was
	// used meanwhile stays. Locks are taken by setting a property.
	e.Flows, err = d.remove(ctx, `MATCH (f:Flow) WHERE f.lastseen < $before RETURN f.key AS key LIMIT $batch`, params,
		`UNWIND $keys AS key MATCH (f:Flow {key: key}) SET f.locked = true`,
		`UNWIND $keys AS key MATCH (f:Flow {key: key}) REMOVE f.locked WITH f WHERE f.lastseen < $before DETACH DELETE f`)
	if err != nil {
		return e, err
	}
	// Intel that waits for a connection that will not come.
	_, err = d.remove(ctx, `MATCH (w:Waiting) USING INDEX w:Waiting(key)
		WHERE w.key > $after AND NOT EXISTS { (w)-[:INTEL]->(i:Intel) WHERE i.lastseen >= $before }
		RETURN w.key AS key ORDER BY key LIMIT $batch`, params,
		`UNWIND $keys AS key MATCH (w:Waiting {key: key}) SET w.locked = true`,
		`UNWIND $keys AS key MATCH (w:Waiting {key: key}) REMOVE w.locked
		 WITH w WHERE NOT EXISTS { (w)-[:INTEL]->(i:Intel) WHERE i.lastseen >= $before } DETACH DELETE w`)
	if err != nil {
		return e, err
	}
	// A forwarder makes hosts and intel before what leads to them: what is new
	// stays, even if nothing does yet.
	for _, k := range flow.Kinds() {
		unused := `NOT coalesce(i.lastseen >= $before, false) AND NOT EXISTS { (:Flow)-[:INTEL]->(i) } AND NOT EXISTS { (:Waiting)-[:INTEL]->(i) }`
		n, err := d.remove(ctx, `MATCH (i:`+k.Label+`) USING INDEX i:`+k.Label+`(key) WHERE i.key > $after AND `+unused+`
			RETURN i.key AS key ORDER BY key LIMIT $batch`, params,
			`UNWIND $keys AS key MATCH (i:`+k.Label+` {key: key}) SET i.locked = true`,
			`UNWIND $keys AS key MATCH (i:`+k.Label+` {key: key}) REMOVE i.locked
			 WITH i WHERE `+unused+` OPTIONAL MATCH (:Host)-[r]->(i) DELETE r, i`)
		e.Intel += n
		if err != nil {
			return e, err
		}
	}
	unused := `NOT coalesce(h.lastseen >= $before, false) AND NOT EXISTS { (h)--() }`
	e.Hosts, err = d.remove(ctx, `MATCH (h:Host) USING INDEX h:Host(addr) WHERE h.addr > $after AND `+unused+`
		RETURN h.addr AS key ORDER BY key LIMIT $batch`, params,
		`UNWIND $keys AS key MATCH (h:Host {addr: key}) SET h.locked = true`,
		`UNWIND $keys AS key MATCH (h:Host {addr: key}) REMOVE h.locked WITH h WHERE `+unused+` DELETE h`)
	return e, err
}

// remove removes nodes whose keys find returns as key: in batches, each in one
// transaction that runs the statements lock and remove with $keys and params. It
// returns how many nodes went. batches says what find is like.
func (d *DB) remove(ctx context.Context, find string, params map[string]any, lock, remove string) (int64, error) {
	var removed int64
	err := d.batches(ctx, find, params, func(keys []any) (bool, error) {
		with := maps.Clone(params)
		with["keys"] = keys
		var n int64
		once := func() error {
			return d.write(ctx, func(t *tx) error {
				if _, err := t.run(lock, with); err != nil {
					return err
				}
				summary, err := t.run(remove, with)
				if err == nil {
					n = int64(summary.Counters().NodesDeleted())
				}
				return err
			})
		}
		err := once()
		for tries := 1; tries < 5 && constraintViolated(err); tries++ {
			err = once() // a node got a relation just then: it stays the next time
		}
		if err == nil {
			removed += n
		}
		return n > 0, err
	})
	return removed, err
}

// batches calls f with the values of key that a query returns, some at a time, as
// long as it returns any. The query returns at most $batch keys: those after
// $after, ascending; or any, if f makes it find others the next time: then it ends
// when f says that it did nothing. So no transaction that reads lasts long, or has
// all of them.
func (d *DB) batches(ctx context.Context, find string, params map[string]any, f func(keys []any) (bool, error)) error {
	with := maps.Clone(params)
	with["after"], with["batch"] = "", batch
	for {
		var keys []any
		err := d.read(ctx, find, with, func(r *neo4j.Record) error {
			key, _, err := neo4j.GetRecordValue[string](r, "key")
			keys = append(keys, key)
			return err
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		did, err := f(keys)
		if err != nil || len(keys) < batch || !did && !strings.Contains(find, "$after") {
			return err
		}
		with["after"] = keys[len(keys)-1]
	}
}
