// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/internal/neo4jtest"
)

func TestMain(m *testing.M) { os.Exit(neo4jtest.Main(m)) }

// slotWidth is the precision of the graphs of tests.
const slotWidth = time.Hour

// graphDB is a Neo4j server with a graph of its own.
type graphDB struct {
	driver  neo4j.DriverWithContext
	session neo4j.SessionWithContext
	// fetched holds the values that queries for patterns returned.
	fetched map[string][]any
}

// openNeo4j empties a server and makes the schema.
func openNeo4j(t *testing.T) *graphDB {
	t.Helper()
	server := neo4jtest.Shared(t)
	driver, err := neo4j.NewDriverWithContext("bolt://"+server.Addr(), neo4j.BasicAuth("neo4j", server.Password(), ""))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	db := &graphDB{driver: driver, session: driver.NewSession(ctx, neo4j.SessionConfig{}), fetched: make(map[string][]any)}
	const wipe = "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS"
	var drop []string
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		// Others share the server: nothing of this is for them.
		for _, text := range append([]string{wipe}, drop...) {
			result, err := db.session.Run(ctx, text, nil)
			if err == nil {
				_, err = result.Consume(ctx)
			}
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
		if err := errors.Join(db.session.Close(ctx), driver.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	db.exec(t, wipe, nil)
	for i, text := range []string{
		"CONSTRAINT IF NOT EXISTS FOR (n:Host) REQUIRE n.addr IS UNIQUE", "CONSTRAINT IF NOT EXISTS FOR (n:Flow) REQUIRE n.key IS UNIQUE",
		"INDEX IF NOT EXISTS FOR (n:Host) ON (n.sort)", "INDEX IF NOT EXISTS FOR (n:Flow) ON (n.dport)",
		"INDEX IF NOT EXISTS FOR (n:DNS) ON (n.query)", "INDEX IF NOT EXISTS FOR (n:DNS) ON (n.query_folded)",
		"INDEX IF NOT EXISTS FOR (n:HTTP) ON (n.host)", "INDEX IF NOT EXISTS FOR (n:HTTP) ON (n.host_folded)",
	} {
		sort, rest, _ := strings.Cut(text, " ")
		name := fmt.Sprintf("filter_test_%d", i)
		db.exec(t, "CREATE "+sort+" "+name+" "+rest, nil)
		drop = append(drop, "DROP "+sort+" "+name+" IF EXISTS")
	}
	db.exec(t, "CALL db.awaitIndexes(60)", nil)
	return db
}

func (db *graphDB) exec(t *testing.T, text string, params map[string]any) {
	t.Helper()
	result, err := db.session.Run(t.Context(), text, params)
	if err == nil {
		_, err = result.Consume(t.Context())
	}
	if err != nil {
		t.Fatalf("%.300s: %v", text, err)
	}
}

// property returns the name and value of an attribute of a node or a relation.
func property(a *flow.Attr, v *filter.Value) (name string, value any) {
	name = a.Name
	if name == "" {
		name = a.Column
	}
	switch a.Type {
	case flow.Text:
		value = v.Text
	case flow.TextList:
		value = append([]string{}, v.Texts...)
	case flow.Count:
		value = v.Int
	case flow.Bool:
		value = v.Int != 0
	case flow.Interval:
		value = float64(v.Int) / 1e6
	case flow.IntervalList:
		list := []float64{}
		for _, n := range v.Ints {
			list = append(list, float64(n)/1e6)
		}
		value = list
	}
	return name, value
}

// folded returns a text, or a list of them, in lower case, false if it was before.
func folded(v *filter.Value) (any, bool) {
	list := append([]string{}, v.Texts...)
	for i := range list {
		list[i] = strings.ToLower(list[i])
	}
	if v.Texts != nil {
		return list, !slices.Equal(list, v.Texts)
	}
	return strings.ToLower(v.Text), strings.ToLower(v.Text) != v.Text
}

// distinct returns the distinct values of a list in ascending order, nil for none.
func distinct[T uint16 | string](list []T) any {
	var zero T
	out := []T{}
	for _, v := range list {
		if any(zero) != any("") || v != zero {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) == 0 {
		return nil
	}
	var each []any
	for _, v := range out {
		switch v := any(v).(type) {
		case uint16:
			each = append(each, int64(v))
		default:
			each = append(each, v)
		}
	}
	return each
}

// optionalNumber returns a port or a code, nil for none.
func optionalNumber(n *uint16) any {
	if n == nil {
		return nil
	}
	return int64(*n)
}

func graphTime(at flow.Time) time.Time {
	return time.UnixMicro(at.Micro()).In(time.FixedZone("Offset", 0))
}

// loadGraph makes the graph of flows by their keys.
func (db *graphDB) loadGraph(t *testing.T, all map[string]*filter.Flow) {
	t.Helper()
	var rows, intel []map[string]any
	hosts := make(map[string]any)
	for key, f := range all {
		for _, a := range []flow.Addr{f.Src, f.Dst} {
			place := fmt.Sprintf("6%x", a[:])
			if a.Is4() {
				place = fmt.Sprintf("4%x", a[12:])
			}
			hosts[a.String()] = map[string]any{"addr": a.String(), "sort": place}
		}
		var slots []int64
		var times []any
		for _, s := range f.Times {
			slots = append(slots, s.Start.Micro())
		}
		slices.Sort(slots)
		for _, s := range slices.Compact(slots) {
			times = append(times, graphTime(flow.Time(s*1000)))
		}
		rows = append(rows, map[string]any{"src": f.Src.String(), "dst": f.Dst.String(), "flow": map[string]any{
			"key": key, "proto": f.Proto, "dport": optionalNumber(f.Dport), "type": optionalNumber(f.Type),
			"count": f.Count, "cspkts": f.CSPkts, "scpkts": f.SCPkts, "csbytes": f.CSBytes, "scbytes": f.SCBytes,
			"firstseen": graphTime(f.FirstSeen), "lastseen": graphTime(f.LastSeen), "times": any(times),
			"sports": distinct(f.Sports), "codes": distinct(f.Codes), "vlan": distinct(f.VLAN),
			"conn_state": distinct(f.ConnState), "sensor": distinct(f.Sensor),
			"service": distinct(strings.Split(strings.Join(f.Service, ","), ",")),
		}})
		for i := range f.Intel {
			in := &f.Intel[i]
			node, relation := make(map[string]any), make(map[string]any)
			kind := flow.Kinds()[in.Kind]
			for j := range in.Values {
				if !in.Values[j].Set || kind.Attrs[j].LogOnly {
					continue
				}
				name, value := property(&kind.Attrs[j], &in.Values[j])
				if kind.Attrs[j].Role == flow.Measure {
					relation[name] = value
					continue
				}
				node[name] = value
				if low, differs := folded(&in.Values[j]); kind.Attrs[j].Fold && differs {
					node[name+"_folded"] = low
				}
			}
			intel = append(intel, map[string]any{
				"flow": key, "label": kind.Label, "node": node, "key": fmt.Sprint(kind.Label, node), "relation": relation,
				"same": fmt.Sprint(relation),
			})
		}
	}
	db.exec(t, "CREATE (:Store {format: 1, precision: $precision})", map[string]any{"precision": int64(slotWidth / time.Second)})
	db.exec(t, "UNWIND $hosts AS h CREATE (n:Host) SET n = h", map[string]any{"hosts": slices.Collect(maps.Values(hosts))})
	db.exec(t, `UNWIND $rows AS row MATCH (src:Host {addr: row.src}), (dst:Host {addr: row.dst})
		CREATE (src)-[:SEND]->(f:Flow)-[:TO]->(dst) SET f = row.flow`, map[string]any{"rows": rows})
	for _, kind := range flow.Kinds() {
		var nodes, relations []map[string]any
		seen, counted := make(map[any]bool), make(map[string]map[string]any)
		for _, in := range intel {
			if in["label"] != kind.Label {
				continue
			}
			if !seen[in["key"]] {
				seen[in["key"]] = true
				nodes = append(nodes, in)
			}
			// Observations with the same measures are one relation, most of the time.
			same := fmt.Sprint(in["flow"], in["key"], in["same"])
			if r := counted[same]; r != nil && r["count"].(int64) < 3 {
				r["count"] = r["count"].(int64) + 1
				continue
			}
			in["count"] = int64(1)
			counted[same] = in
			relations = append(relations, in)
		}
		db.exec(t, "UNWIND $rows AS row CREATE (i:Intel:"+kind.Label+") SET i = row.node, i.key = row.key", map[string]any{"rows": nodes})
		db.exec(t, "UNWIND $rows AS row MATCH (f:Flow {key: row.flow}), (i:"+kind.Label+
			" {key: row.key}) CREATE (f)-[m:INTEL]->(i) SET m = row.relation, m.count = row.count", map[string]any{"rows": relations})
	}
}

// query runs a query in the test's session.
func (db *graphDB) query(ctx context.Context, text string, params map[string]any, each func(v any) error) error {
	result, err := db.session.Run(ctx, text, params, neo4j.WithTxTimeout(time.Minute))
	if err != nil {
		return err
	}
	for result.Next(ctx) {
		if err := each(result.Record().Values[0]); err != nil {
			return err
		}
	}
	return result.Err()
}

// fetch returns the values for a pattern, from memory if they are known.
func (db *graphDB) fetch(ctx context.Context, text string, params map[string]any, each func(v any) error) error {
	key := fmt.Sprint(text, params)
	list, ok := db.fetched[key]
	if !ok {
		if err := db.query(ctx, text, params, func(v any) error {
			list = append(list, v)
			return nil
		}); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		db.fetched[key] = list
	}
	for _, v := range list {
		if err := each(v); err != nil {
			return err
		}
	}
	return nil
}

// selected runs a filter and returns the keys of the flows.
func (db *graphDB) selected(t *testing.T, e *filter.Expr) ([]string, error) {
	t.Helper()
	q, err := e.Cypher(filter.CypherOptions{})
	if err != nil {
		return nil, err
	}
	return db.run(t, q)
}

// run runs a translated filter.
func (db *graphDB) run(t *testing.T, q *filter.Cypher) (keys []string, err error) {
	t.Helper()
	if err := q.Fill(t.Context(), db.fetch); err != nil {
		return nil, err
	}
	text := q.Match + " WHERE " + q.Where + " RETURN f.key"
	err = db.query(t.Context(), text, q.Params, func(v any) error {
		keys = append(keys, v.(string))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%.2000s %.500v: %w", text, q.Params, err)
	}
	slices.Sort(keys)
	return keys, nil
}
