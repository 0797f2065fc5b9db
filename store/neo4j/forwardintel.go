// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
	"github.com/zeebo/xxh3"

	"weir/internal/flow"
	"weir/store/lake"
)

// kindQueries are the statements for intel of a kind.
type kindQueries struct {
	kind flow.Kind
	// keys are the attributes that make a node, measures those of relations.
	keys, measures []intelAttr
	// find tells which nodes are there, create makes others, seen updates the times
	// of nodes, link says which hosts nodes are about; relate and wait make
	// relations from flows, and from what stands in for flows to come.
	find, create, seen, link, relate, wait string
}

// intelAttr is an attribute of a kind.
type intelAttr struct {
	flow.Attr
	number int
	name   string
}

func newKindQueries(kind flow.Kind, info *flow.KindInfo) kindQueries {
	q := kindQueries{kind: kind}
	for i, a := range info.Attrs {
		if a.LogOnly {
			continue
		}
		attr := intelAttr{a, i, a.FilterName()}
		if a.Role == flow.Key {
			q.keys = append(q.keys, attr)
		} else {
			q.measures = append(q.measures, attr)
		}
	}
	node := []string{"key: r[0]", "firstseen: r[1]", "lastseen: r[2]"}
	for i, a := range q.nodeProperties() {
		node = append(node, fmt.Sprintf("`%s`: r[%d]", a, 3+i))
	}
	relation := []string{"count: r[2]"}
	for i, a := range q.measures {
		relation = append(relation, fmt.Sprintf("`%s`: r[%d]", a.name, 3+i))
	}
	label := info.Label
	relate := func(from string) string {
		return "UNWIND $rows AS r MATCH (f:" + from + " {key: r[0]}) MATCH (i:" + label + " {key: r[1]})\n" +
			"CREATE (f)-[:INTEL {" + strings.Join(relation, ", ") + "}]->(i)\nRETURN count(*)"
	}
	q.find = "UNWIND range(0, size($keys) - 1) AS n MATCH (:" + label + " {key: $keys[n]}) RETURN collect(n)"
	q.create = "UNWIND $rows AS r CREATE (:Intel:" + label + " {" + strings.Join(node, ", ") + "})\nRETURN count(*)"
	q.seen = "UNWIND $rows AS r MATCH (i:" + label + " {key: r[0]})\n" +
		"SET i.firstseen = CASE WHEN i.firstseen > r[1] THEN r[1] ELSE i.firstseen END,\n" +
		"  i.lastseen = CASE WHEN i.lastseen < r[2] THEN r[2] ELSE i.lastseen END\nRETURN count(*)"
	q.link = "UNWIND $rows AS r MATCH (h:Host {addr: r[0]}) MATCH (i:" + label + " {key: r[1]})\n" +
		"CREATE (h)-[:INTEL]->(i)\nRETURN count(*)"
	q.relate, q.wait = relate("Flow"), relate("Waiting")
	return q
}

// foldedSuffix ends the name of the property that has a text in lower case.
const foldedSuffix = "_folded"

// nodeProperties returns the names of the properties of nodes.
func (q *kindQueries) nodeProperties() []string {
	var names []string
	for _, a := range q.keys {
		names = append(names, a.name)
	}
	for _, a := range q.keys {
		if a.Fold {
			names = append(names, a.name+foldedSuffix)
		}
	}
	return names
}

// value returns a value as the driver takes it, nil where it is not set.
func (a *intelAttr) value(v *lake.IntelValue) any {
	if !v.Set {
		return nil
	}
	switch a.Type {
	case flow.Text:
		return v.Text
	case flow.Count:
		return v.Int
	case flow.Bool:
		return v.Int != 0
	case flow.Interval:
		return v.Seconds
	case flow.TextList:
		return append([]string{}, v.Texts...)
	case flow.IntervalList:
		return append([]float64{}, v.SecondsList...)
	}
	return nil
}

// folded returns the value in lower case, nil where it is the same.
func (a *intelAttr) folded(v *lake.IntelValue) any {
	switch {
	case !v.Set:
	case a.Type == flow.Text:
		if low := strings.ToLower(v.Text); low != v.Text {
			return low
		}
	case a.Type == flow.TextList:
		low := make([]string, len(v.Texts))
		for i, t := range v.Texts {
			low[i] = strings.ToLower(t)
		}
		if !slices.Equal(low, v.Texts) {
			return low
		}
	}
	return nil
}

// encode appends a value to what is hashed or compared: different values are
// different bytes.
func (a *intelAttr) encode(b []byte, v *lake.IntelValue) []byte {
	if !v.Set {
		return append(b, 0)
	}
	b = append(b, 1)
	text := func(t string) { b = append(binary.AppendUvarint(b, uint64(len(t))), t...) }
	switch a.Type {
	case flow.Text:
		text(v.Text)
	case flow.Count, flow.Bool:
		b = binary.LittleEndian.AppendUint64(b, uint64(v.Int))
	case flow.Interval:
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Seconds))
	case flow.TextList:
		b = binary.AppendUvarint(b, uint64(len(v.Texts)))
		for _, t := range v.Texts {
			text(t)
		}
	case flow.IntervalList:
		b = binary.AppendUvarint(b, uint64(len(v.SecondsList)))
		for _, f := range v.SecondsList {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
		}
	}
	return b
}

// intelChunk is intel of one kind.
type intelChunk struct {
	q *kindQueries
	// nodes are lists of key, times and properties; about the hosts that each is
	// about.
	nodes map[string]*intelNode
	// relations are lists of flow's key, node's key, number and measures.
	relations map[string][]any
	flows     map[string]bool
	buf       []byte
}

type intelNode struct {
	first, last int64
	row         []any
	about       []string
}

func newIntelChunk(q *kindQueries) *intelChunk {
	return &intelChunk{
		q: q, nodes: make(map[string]*intelNode), relations: make(map[string][]any), flows: make(map[string]bool),
	}
}

// add adds a record, whose memory is not kept except for its texts.
func (c *intelChunk) add(r *lake.IntelRow, hosts *hostSet) {
	key := c.key(r)
	n := c.nodes[key]
	if n == nil {
		n = &intelNode{first: r.TS, last: r.TS, row: c.node(key, r)}
		c.nodes[key] = n
		for _, a := range about(c.q.kind, r) {
			n.about = append(n.about, a.String())
		}
	}
	n.first, n.last = min(n.first, r.TS), max(n.last, r.TS)
	for _, text := range n.about {
		a := flow.AddrFrom(netip.MustParseAddr(text))
		hosts.add(&a, text, r.TS, r.TS)
	}
	from := keyOf(r.Src.String(), r.Dst.String(), r.Proto, r.Dport, -1)
	c.flows[from] = true
	c.buf = append(append(append(c.buf[:0], from...), 0), key...)
	for i := range c.q.measures {
		a := &c.q.measures[i]
		c.buf = a.encode(c.buf, &r.Values[a.number])
	}
	if row := c.relations[string(c.buf)]; row != nil {
		row[2] = row[2].(int64) + 1
		return
	}
	row := []any{from, key, int64(1)}
	for i := range c.q.measures {
		a := &c.q.measures[i]
		row = append(row, a.value(&r.Values[a.number]))
	}
	c.relations[string(c.buf)] = row
}

// key returns the key of a record's node.
func (c *intelChunk) key(r *lake.IntelRow) string {
	c.buf = append(c.buf[:0], flow.Kinds()[c.q.kind].Name...)
	for i := range c.q.keys {
		a := &c.q.keys[i]
		c.buf = a.encode(c.buf, &r.Values[a.number])
	}
	sum := xxh3.Hash128(c.buf).Bytes()
	return hex.EncodeToString(sum[:])
}

// node returns the values of a record's node. The times come later.
func (c *intelChunk) node(key string, r *lake.IntelRow) []any {
	row := []any{key, nil, nil}
	for i := range c.q.keys {
		a := &c.q.keys[i]
		row = append(row, a.value(&r.Values[a.number]))
	}
	for i := range c.q.keys {
		if a := &c.q.keys[i]; a.Fold {
			row = append(row, a.folded(&r.Values[a.number]))
		}
	}
	return row
}

// about returns the addresses that a record is about. They follow from the attributes
// that make the node.
func about(kind flow.Kind, r *lake.IntelRow) []netip.Addr {
	if kind != flow.DNS {
		return nil
	}
	return flow.About(r.Values[flow.DNSQuery].Text, r.Values[flow.DNSQTypeName].Text, r.Values[flow.DNSAnswers].Texts)
}

// prepare makes the nodes, and says which hosts they are about; that is part of
// making a node, since it never changes.
func (c *intelChunk) prepare(ctx context.Context, tx neo4j.ExplicitTransaction) error {
	keys := slices.Sorted(maps.Keys(c.nodes))
	rows, err := collect(ctx, tx, c.q.find, map[string]any{"keys": keys})
	if err != nil {
		return err
	}
	found, err := parseNumbers(rows, len(keys))
	if err != nil {
		return err
	}
	var create, seen, link []any
	for i, key := range keys {
		n := c.nodes[key]
		n.row[1], n.row[2] = moment(n.first), moment(n.last)
		if found[i] {
			seen = append(seen, n.row[:3])
			continue
		}
		create = append(create, n.row)
		for _, addr := range n.about {
			link = append(link, []any{addr, key})
		}
	}
	for _, step := range []struct {
		text string
		rows []any
	}{{c.q.create, create}, {c.q.seen, seen}, {c.q.link, link}} {
		if len(step.rows) == 0 {
			continue
		}
		if err := expect(ctx, tx, step.text, map[string]any{"rows": step.rows}, len(step.rows)); err != nil {
			return err
		}
	}
	return nil
}

// parseNumbers reads the result of a statement that returns which of n things are
// there.
func parseNumbers(rows []*neo4j.Record, n int) ([]bool, error) {
	if len(rows) != 1 || len(rows[0].Values) != 1 {
		return nil, fmt.Errorf("find: %d rows", len(rows))
	}
	found := make([]bool, n)
	list, _ := rows[0].Values[0].([]any)
	for _, v := range list {
		i, ok := v.(int64)
		if !ok || i < 0 || int(i) >= n {
			return nil, fmt.Errorf("find: number %v", v)
		}
		found[i] = true
	}
	return found, nil
}

// Statements for flows that are not there yet.
const (
	findKeys  = `UNWIND range(0, size($keys) - 1) AS n MATCH (:Flow {key: $keys[n]}) RETURN collect(n)`
	makeWaits = `UNWIND $keys AS k MERGE (w:Waiting {key: k}) SET w.moving = false`
)

// apply makes the relations, in the transaction that makes the chunk's mark.
// Where a flow is not there yet, something stands in for it.
func (c *intelChunk) apply(ctx context.Context, tx neo4j.ExplicitTransaction, waits *atomic.Bool) error {
	keys := slices.Sorted(maps.Keys(c.flows))
	rows, err := collect(ctx, tx, findKeys, map[string]any{"keys": keys})
	if err != nil {
		return err
	}
	found, err := parseNumbers(rows, len(keys))
	if err != nil {
		return err
	}
	absent := make(map[string]bool)
	var missing []string
	for i, key := range keys {
		if !found[i] {
			absent[key] = true
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		waits.Store(true)
		if _, err := collect(ctx, tx, makeWaits, map[string]any{"keys": missing}); err != nil {
			return err
		}
	}
	var relate, wait []any
	for _, id := range slices.Sorted(maps.Keys(c.relations)) {
		row := c.relations[id]
		if absent[row[0].(string)] {
			wait = append(wait, row)
		} else {
			relate = append(relate, row)
		}
	}
	if len(relate) > 0 {
		if err := expect(ctx, tx, c.q.relate, map[string]any{"rows": relate}, len(relate)); err != nil {
			return err
		}
	}
	if len(wait) > 0 {
		return expect(ctx, tx, c.q.wait, map[string]any{"rows": wait}, len(wait))
	}
	return nil
}

// sweepWaiting moves intel to flows that are there. Whoever makes a flow moves
// what waits for it; this is for what came in at the same moment from another
// forwarder.
func (s *sender) sweepWaiting(ctx context.Context) error {
	const find = `MATCH (w:Waiting) WHERE w.key > $after WITH w ORDER BY w.key LIMIT 10000
WITH collect(w.key) AS keys UNWIND keys AS k OPTIONAL MATCH (f:Flow {key: k})
RETURN keys[-1], collect(f.key)`
	for after := ""; ; {
		last, keys := "", []any(nil)
		err := s.do(ctx, func(ctx context.Context, tx neo4j.ExplicitTransaction) error {
			rows, err := collect(ctx, tx, find, map[string]any{"after": after})
			if err != nil || len(rows) == 0 {
				return err
			}
			last, _ = rows[0].Values[0].(string)
			keys, _ = rows[0].Values[1].([]any)
			if len(keys) == 0 {
				return nil
			}
			_, err = collect(ctx, tx, moveWaiting, map[string]any{"keys": keys})
			return err
		})
		if err != nil {
			return fmt.Errorf("move intel to its flows: %w", err)
		}
		if last == "" {
			return nil
		}
		after = last
	}
}
