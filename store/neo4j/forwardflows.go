// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store/lake"
)

// Positions of a flow's values in the list that stands for it in parameters.
// Lists take half the time of maps.
const (
	flowKey = iota
	flowSrc
	flowDst
	flowProto
	flowDport
	flowType
	flowFirst
	flowLast
	flowSums
	flowSets = flowSums + 5
	flowID   = flowSets + 7 // of the node, once it is found
	flowLen  = flowID + 1
)

// Limits of the sets that Cypher merges, which takes the time of the product of
// the two sizes. Larger ones are merged here, some at a time.
const (
	largeSet = 256
	largeAdd = 32
	mergeMax = 1 << 20 // values at a time
)

// sums returns the names of the properties that add up, sets those of the lists
// of distinct values, in the order of a flow's values.
func sums() []string { return []string{"count", "cspkts", "scpkts", "csbytes", "scbytes"} }

func sets() []string {
	return []string{"sports", "codes", "vlan", "conn_state", "service", "sensor", "times"}
}

// flowQueries are the statements for flows.
type flowQueries struct {
	// create makes flows between hosts that are there, for each source; update adds
	// to flows that were found, sets included; add does without these and returns
	// them; put replaces sets.
	create, update, add, put string
}

func newFlowQueries() flowQueries {
	list := func(names []string, format string, first int) string {
		var parts []string
		for i, name := range names {
			parts = append(parts, strings.NewReplacer("NAME", name, "VALUE", fmt.Sprintf("r[%d]", first+i)).Replace(format))
		}
		return strings.Join(parts, ",\n  ")
	}
	plain := list([]string{"key"}, "NAME: VALUE", flowKey) + ", " +
		list([]string{"proto", "dport", "type", "firstseen", "lastseen"}, "NAME: VALUE", flowProto) + ", " +
		list(sums(), "NAME: VALUE", flowSums) + ", " + list(sets(), "NAME: VALUE", flowSets)
	// Nobody has the id of a flow that was found in the same transaction, even if
	// it was removed since. The first property that is set depends on itself, for which the server locks
	// the flow: what is read after that is nobody else's to change. Cypher raises
	// an error where a sum overflows. A property that is set to what it was is not
	// written.
	add := "SET " + list(sums(), "f.NAME = CASE WHEN f.NAME > 9223372036854775807 - VALUE THEN 9223372036854775807 ELSE f.NAME + VALUE END",
		flowSums)
	seen := fmt.Sprintf(",\n  f.firstseen = CASE WHEN f.firstseen > r[%[1]d] THEN r[%[1]d] ELSE f.firstseen END,"+
		"\n  f.lastseen = CASE WHEN f.lastseen < r[%[2]d] THEN r[%[2]d] ELSE f.lastseen END", flowFirst, flowLast)
	union := ",\n  " + list(sets(), "f.NAME = CASE WHEN VALUE IS NULL THEN f.NAME WHEN f.NAME IS NULL THEN VALUE\n"+
		"    ELSE reduce(a = f.NAME, x IN VALUE | CASE WHEN x IN a THEN a\n"+
		"      ELSE [y IN a WHERE y < x] + [x] + [y IN a WHERE y > x] END) END", flowSets)
	return flowQueries{
		create: "UNWIND $rows AS g MATCH (s:Host {addr: g[0]})\nUNWIND g[1] AS r MATCH (d:Host {addr: r[2]})\n" +
			"CREATE (s)-[:SEND]->(:Flow {" + plain + "})-[:TO]->(d)\nRETURN count(*)",
		update: fmt.Sprintf("UNWIND $rows AS r MATCH (f) WHERE elementId(f) = r[%d] AND f.key = r[0]\n", flowID) +
			add + seen + union + "\nRETURN count(*)",
		add: "UNWIND $rows AS r MATCH (f:Flow {key: r[0]})\n" + add + seen + "\nRETURN r[0], " + list(sets(), "f.NAME", 0),
		put: "UNWIND $rows AS r MATCH (f:Flow {key: r[0]})\nSET " +
			list(sets(), "f.NAME = coalesce(VALUE, f.NAME)", 1) + "\nRETURN count(*)",
	}
}

// Statements that are the same for all.
const (
	markChunk = `MATCH (s:Store {precision: $precision}) WITH s LIMIT 1
CREATE (:Chunk {part: $part, n: $n, owner: $owner, cut: $cut}) RETURN count(*)`
	findChunk = `MATCH (c:Chunk {part: $part, n: $n}) RETURN count(*)`
	// Properties are the same where nothing is new, and then not written.
	mergeHosts = `UNWIND $rows AS r MERGE (h:Host {addr: r[0]})
ON CREATE SET h.family = r[1], h.sort = r[2], h.firstseen = r[3], h.lastseen = r[4]
ON MATCH SET h.firstseen = CASE WHEN h.firstseen < r[3] THEN h.firstseen ELSE r[3] END,
  h.lastseen = CASE WHEN h.lastseen > r[4] THEN h.lastseen ELSE r[4] END`
	findFlows = `UNWIND range(0, size($keys) - 1) AS i MATCH (f:Flow {key: $keys[i]})
RETURN collect(i), collect(elementId(f)), collect(CASE WHEN size(f.sports) > $large OR size(f.times) > $large
  THEN [i, coalesce(size(f.sports), 0) + coalesce(size(f.times), 0)] END)`
	findWaiting = `UNWIND $keys AS k MATCH (w:Waiting {key: k}) RETURN collect(k)`
	// What waits is locked before what hangs on it is read.
	moveWaiting = `UNWIND $keys AS k MATCH (w:Waiting {key: k}) SET w.moving = true
WITH w MATCH (f:Flow {key: w.key})
CALL (w, f) { MATCH (w)-[r:INTEL]->(i) CREATE (f)-[n:INTEL]->(i) SET n = properties(r) }
DETACH DELETE w`
)

// chunk is what one transaction applies: flows or intel of a part. It is for one
// goroutine at a time.
type chunk struct {
	part string
	n    int64
	cut  cut
	// records is how many connections or records of intel it stands for.
	records int64

	hosts *hostSet
	// flows are lists of flowLen values, in the order of their keys; width is that
	// of their slots.
	flows []any
	width time.Duration
	intel *intelChunk
}

// addFlow adds a flow, whose memory is not kept, but not its hosts.
func (c *chunk) addFlow(f *lake.FlowRow) {
	src, dst := f.Src.String(), f.Dst.String()
	c.records += f.Count
	times := make([]time.Time, len(f.Slots))
	for i, t := range f.Slots {
		times[i] = moment(t)
	}
	row := make([]any, flowLen)
	row[flowKey] = keyOf(src, dst, f.Proto, f.Dport, f.Type)
	row[flowSrc], row[flowDst], row[flowProto] = src, dst, f.Proto
	if f.Dport >= 0 {
		row[flowDport] = int64(f.Dport)
	}
	if f.Type >= 0 {
		row[flowType] = int64(f.Type)
	}
	row[flowFirst], row[flowLast] = moment(f.First), moment(f.Last)
	for i, n := range []int64{f.Count, f.CSPkts, f.SCPkts, f.CSBytes, f.SCBytes} {
		row[flowSums+i] = n
	}
	for i, set := range []any{
		numbers(f.Sports), numbers(f.Codes), numbers(f.VLANs),
		orNil(slices.Clone(f.States)), orNil(slices.Clone(f.Services)), orNil(slices.Clone(f.Sensors)), orNil(times),
	} {
		row[flowSets+i] = set
	}
	c.flows = append(c.flows, row)
}

// numbers returns the numbers of a set as the driver takes them.
func numbers(list []int32) any {
	if len(list) == 0 {
		return nil
	}
	out := make([]int64, len(list))
	for i, n := range list {
		out[i] = int64(n)
	}
	return out
}

// keyOf returns the key of a flow; a port or type below 0 is none.
func keyOf(src, dst, proto string, dport, typ int32) string {
	n := max(dport, typ)
	b := make([]byte, 0, len(src)+len(dst)+len(proto)+9)
	b = append(append(append(append(append(b, src...), ' '), dst...), ' '), proto...)
	if n >= 0 {
		b = strconv.AppendInt(append(b, '/'), int64(n), 10)
	}
	return string(b)
}

// align makes the slots wider. It returns false where the width is no multiple of
// what they are.
func (c *chunk) align(width time.Duration) bool {
	if c.intel != nil || c.width == width {
		c.width = width
		return true
	}
	if width%c.width != 0 {
		return false
	}
	for _, f := range c.flows {
		row := f.([]any)
		times, _ := row[flowSets+6].([]time.Time)
		if len(times) == 0 {
			continue
		}
		for i, t := range times {
			micros, w := t.UnixMicro(), width.Microseconds()
			times[i] = moment(micros - ((micros%w)+w)%w)
		}
		row[flowSets+6] = slices.CompactFunc(times, time.Time.Equal)
	}
	c.width = width
	return true
}

// hostSet is hosts and when they were seen. The zero value is not ready.
type hostSet struct{ hosts map[string]*host }

type host struct {
	addr        flow.Addr
	first, last int64
}

func newHostSet() *hostSet { return &hostSet{hosts: make(map[string]*host)} }

func (s *hostSet) add(a *flow.Addr, text string, first, last int64) {
	h := s.hosts[text]
	if h == nil {
		s.hosts[text] = &host{*a, first, last}
		return
	}
	h.first, h.last = min(h.first, first), max(h.last, last)
}

// addFlow adds the hosts of a flow.
func (s *hostSet) addFlow(f *lake.FlowRow) {
	s.add(&f.Src, f.Src.String(), f.First, f.Last)
	s.add(&f.Dst, f.Dst.String(), f.First, f.Last)
}

// rows returns the hosts as parameters, in one order for everybody, so that those
// who lock some of them do not wait for each other in a circle.
func (s *hostSet) rows(known *hostCache) []any {
	var rows []any
	for _, text := range slices.Sorted(maps.Keys(s.hosts)) {
		h := s.hosts[text]
		if known.covers(text, h) {
			continue
		}
		rows = append(rows, []any{text, family(h.addr), filter.CypherSort(h.addr), moment(h.first), moment(h.last)})
	}
	return rows
}

// family returns 4 or 6.
func family(a flow.Addr) int64 {
	if a.Is4() {
		return 4
	}
	return 6
}

// hostCache remembers what was written about hosts last. Whoever finds that a host
// is not there any more forgets all of it. sender.shared guards it.
type hostCache struct{ hosts map[string][2]int64 }

// maxHosts bounds the cache; a full one begins anew.
const maxHosts = 1 << 16

func (c *hostCache) covers(text string, h *host) bool {
	had, ok := c.hosts[text]
	return ok && had[0] <= h.first && had[1] >= h.last
}

func (c *hostCache) add(s *hostSet) {
	if c.hosts == nil || len(c.hosts)+len(s.hosts) > maxHosts {
		c.hosts = make(map[string][2]int64)
	}
	for text, h := range s.hosts {
		had, ok := c.hosts[text]
		if !ok {
			had = [2]int64{h.first, h.last}
		}
		c.hosts[text] = [2]int64{min(had[0], h.first), max(had[1], h.last)}
	}
}

// hostsMax is how many hosts one transaction makes: those of a scan are many.
const hostsMax = 10_000

// prepare makes hosts and intel that a chunk needs and other chunks may share. It
// may be done twice.
func (s *sender) prepare(ctx context.Context, c *chunk, timeout time.Duration) error {
	s.shared.Lock()
	defer s.shared.Unlock()
	hosts := c.hosts.rows(&s.hosts)
	if len(hosts) == 0 && c.intel == nil {
		return nil
	}
	for len(hosts) > hostsMax {
		err := s.attempt(ctx, timeout, func(ctx context.Context, tx neo4j.ExplicitTransaction) error {
			_, err := collect(ctx, tx, mergeHosts, map[string]any{"rows": hosts[:hostsMax]})
			return err
		})
		if err != nil {
			return err
		}
		hosts = hosts[hostsMax:]
	}
	err := s.attempt(ctx, timeout, func(ctx context.Context, tx neo4j.ExplicitTransaction) error {
		if len(hosts) > 0 {
			if _, err := collect(ctx, tx, mergeHosts, map[string]any{"rows": hosts}); err != nil {
				return err
			}
		}
		if c.intel != nil {
			return c.intel.prepare(ctx, tx)
		}
		return nil
	})
	if err == nil {
		s.hosts.add(c.hosts)
	}
	return err
}

// mark makes the mark of a chunk; errApplied says that it may be there.
func (s *sender) mark(ctx context.Context, tx neo4j.ExplicitTransaction, c *chunk) error {
	n, err := number(ctx, tx, markChunk, map[string]any{
		"precision": int64(c.width / time.Second), "part": c.part, "n": c.n, "owner": s.owner, "cut": c.cut.String(),
	})
	switch {
	case constraintViolated(err):
		return fmt.Errorf("%w: %w", errApplied, err)
	case err != nil:
		return err
	case n != 1:
		return errPrecision
	}
	return nil
}

// applyFlows adds the flows of a chunk to the graph, in the transaction that
// makes its mark.
func (s *sender) applyFlows(ctx context.Context, tx neo4j.ExplicitTransaction, c *chunk) error {
	keys := make([]string, len(c.flows))
	for i, f := range c.flows {
		keys[i] = f.([]any)[flowKey].(string)
	}
	rows, err := collect(ctx, tx, findFlows, map[string]any{"keys": keys, "large": int64(largeSet)})
	if err != nil {
		return err
	}
	ids, sizes, err := parseFound(rows, len(keys))
	if err != nil {
		return err
	}
	var small []any
	var fresh sourceRows
	var large []sizedFlow
	var freshKeys []string
	for i, f := range c.flows {
		row := f.([]any)
		size, big := sizes[i]
		switch {
		case ids[i] == "":
			fresh.add(row)
			freshKeys = append(freshKeys, keys[i])
		case big || addsMany(row):
			large = append(large, sizedFlow{row, size})
		default:
			row[flowID] = ids[i]
			small = append(small, f)
		}
	}
	if len(freshKeys) > 0 {
		if err := expect(ctx, tx, s.queries.create, map[string]any{"rows": fresh.list()}, len(freshKeys)); err != nil {
			return err
		}
		if err := moveFrom(ctx, tx, freshKeys); err != nil {
			return err
		}
	}
	if len(small) > 0 {
		if err := expect(ctx, tx, s.queries.update, map[string]any{"rows": small}, len(small)); err != nil {
			return err
		}
	}
	return s.mergeLarge(ctx, tx, large)
}

// sourceRows are rows of flows by their sources, for each of which the server
// looks once. Those of one source follow each other, as they do in a chunk.
type sourceRows struct {
	sources []string
	rows    [][]any // of each
}

func (s *sourceRows) add(row []any) {
	src := row[flowSrc].(string)
	if n := len(s.sources); n == 0 || s.sources[n-1] != src {
		s.sources, s.rows = append(s.sources, src), append(s.rows, nil)
	}
	last := &s.rows[len(s.rows)-1]
	*last = append(*last, any(row))
}

// list returns pairs of a source and its rows, as parameters.
func (s *sourceRows) list() []any {
	out := make([]any, len(s.sources))
	for i, src := range s.sources {
		out[i] = []any{src, s.rows[i]}
	}
	return out
}

// parseFound reads the result of findFlows: the ids of the flows that are there,
// "" of others, and how large the sets of those are that have large ones.
func parseFound(rows []*neo4j.Record, n int) (ids []string, sizes map[int]int, err error) {
	if len(rows) != 1 || len(rows[0].Values) != 3 {
		return nil, nil, fmt.Errorf("find flows: %d rows", len(rows))
	}
	ids, sizes = make([]string, n), make(map[int]int)
	known, _ := rows[0].Values[0].([]any)
	list, _ := rows[0].Values[1].([]any)
	if len(known) != len(list) {
		return nil, nil, fmt.Errorf("find flows: %d numbers of %d flows", len(known), len(list))
	}
	for k, v := range known {
		i, ok := v.(int64)
		id, _ := list[k].(string)
		if !ok || i < 0 || int(i) >= n || id == "" {
			return nil, nil, fmt.Errorf("find flows: number %v, id %v", v, list[k])
		}
		ids[i] = id
	}
	big, _ := rows[0].Values[2].([]any)
	for _, v := range big {
		pair, _ := v.([]any)
		if len(pair) != 2 {
			return nil, nil, fmt.Errorf("find flows: size %v", v)
		}
		i, _ := pair[0].(int64)
		size, _ := pair[1].(int64)
		sizes[int(i)] = int(size)
	}
	return ids, sizes, nil
}

// addsMany reports whether a flow brings many values of a set.
func addsMany(row []any) bool {
	sports, _ := row[flowSets].([]int64)
	times, _ := row[flowSets+6].([]time.Time)
	return len(sports) > largeAdd || len(times) > largeAdd
}

// moveFrom moves the intel that waited for flows to them.
func moveFrom(ctx context.Context, tx neo4j.ExplicitTransaction, keys []string) error {
	rows, err := collect(ctx, tx, findWaiting, map[string]any{"keys": keys})
	if err != nil || len(rows) == 0 {
		return err
	}
	if waiting, _ := rows[0].Values[0].([]any); len(waiting) > 0 {
		_, err = collect(ctx, tx, moveWaiting, map[string]any{"keys": waiting})
	}
	return err
}

// sizedFlow is a flow whose sets in the graph have so many values.
type sizedFlow struct {
	row  []any
	size int
}

// mergeLarge adds to flows with large sets, in time that grows with the sizes and
// not with their product.
func (s *sender) mergeLarge(ctx context.Context, tx neo4j.ExplicitTransaction, flows []sizedFlow) error {
	for len(flows) > 0 {
		n, values := 0, 0
		for n < len(flows) && (n == 0 || values+flows[n].size <= mergeMax) {
			values += flows[n].size + 1
			n++
		}
		if err := s.mergeSome(ctx, tx, flows[:n]); err != nil {
			return err
		}
		flows = flows[n:]
	}
	return nil
}

func (s *sender) mergeSome(ctx context.Context, tx neo4j.ExplicitTransaction, flows []sizedFlow) error {
	byKey := make(map[string][]any, len(flows))
	rows := make([]any, len(flows))
	for i := range flows {
		rows[i] = flows[i].row
		byKey[flows[i].row[flowKey].(string)] = flows[i].row
	}
	had, err := collect(ctx, tx, s.queries.add, map[string]any{"rows": rows})
	if err != nil {
		return err
	}
	if len(had) != len(flows) {
		return fmt.Errorf("%w: %d of %d", errChanged, len(had), len(flows))
	}
	var put []any
	for _, r := range had {
		key, _ := r.Values[0].(string)
		row := byKey[key]
		if row == nil || len(r.Values) != 1+len(sets()) {
			return fmt.Errorf("merge sets of flows: key %q", key)
		}
		out := make([]any, 1+len(sets()))
		out[0] = key
		grew := false
		for i := range sets() {
			have, _ := r.Values[1+i].([]any)
			if out[1+i], err = unionOf(have, row[flowSets+i]); err != nil {
				return fmt.Errorf("merge %s of %q: %w", sets()[i], key, err)
			}
			grew = grew || out[1+i] != nil
		}
		if grew {
			put = append(put, out)
		}
	}
	if len(put) == 0 {
		return nil
	}
	return expect(ctx, tx, s.queries.put, map[string]any{"rows": put}, len(put))
}

// unionOf returns the union of a set in the graph and one that is added, nil
// where that has nothing new.
func unionOf(have []any, add any) (any, error) {
	switch add := add.(type) {
	case nil:
		return nil, nil
	case []int64:
		return union(have, add, cmp.Compare[int64])
	case []string:
		return union(have, add, strings.Compare)
	case []time.Time:
		return union(have, add, time.Time.Compare)
	}
	return nil, fmt.Errorf("a set of %T", add)
}

// union merges two ascending lists.
func union[T any](have []any, add []T, compare func(a, b T) int) (any, error) {
	old := make([]T, len(have))
	for i, v := range have {
		var ok bool
		if old[i], ok = v.(T); !ok {
			return nil, fmt.Errorf("a value is a %T, not a %T", v, old[i])
		}
	}
	if !slices.IsSortedFunc(old, compare) { // somebody else's
		slices.SortFunc(old, compare)
	}
	out := make([]T, 0, len(old)+len(add))
	fresh := false
	for i, j := 0, 0; i < len(old) || j < len(add); {
		switch {
		case j == len(add) || i < len(old) && compare(old[i], add[j]) < 0:
			out = append(out, old[i])
			i++
		case i == len(old) || compare(old[i], add[j]) > 0:
			out = append(out, add[j])
			fresh = true
			j++
		default:
			out = append(out, old[i])
			i, j = i+1, j+1
		}
	}
	if !fresh {
		return nil, nil
	}
	return out, nil
}
