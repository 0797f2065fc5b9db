// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/filter"
	"weir/store"
)

// question is a filter with what is asked of the flows that it selects.
type question struct{ *filter.Cypher }

// ask translates a filter.
func ask(e *filter.Expr) (*question, error) {
	c, err := e.Cypher(filter.CypherOptions{})
	if err != nil {
		return nil, err
	}
	return &question{c}, nil
}

// begin returns the beginning of a query, which binds src, f and dst.
func (q *question) begin() string {
	switch {
	case q.Match == filter.CypherFlows:
		return q.beginFor("src, dst")
	case q.Where == "true":
		return q.Match
	}
	return q.Match + " WHERE " + q.Where
}

// beginFor is begin for what follows: flows are not asked for a host in which nobody is
// interested. Those that a filter selects by what they are themselves are found before they are
// asked for their hosts; the server would walk from hosts to flows, which takes five times as long.
func (q *question) beginFor(rest string) string {
	if q.Match != filter.CypherFlows {
		return q.begin()
	}
	src, dst := strings.Contains(rest, "src"), strings.Contains(rest, "dst")
	switch {
	case q.Where == "true":
		return "MATCH " + path(src, dst, ":Flow")
	case namesHosts(q.Where):
		src, dst = src || strings.Contains(q.Where, "src"), dst || strings.Contains(q.Where, "dst")
		return "MATCH " + path(src, dst, ":Flow") + " WHERE " + q.Where
	case src || dst:
		return "MATCH (f:Flow) WHERE " + q.Where + " WITH f MATCH " + path(src, dst, "")
	}
	return "MATCH (f:Flow) WHERE " + q.Where
}

// path returns the pattern of a flow and its hosts.
func path(src, dst bool, label string) string {
	text := "(f" + label + ")"
	if src {
		text = "(src:Host)-[:SEND]->" + text
	}
	if dst {
		text += "-[:TO]->(dst:Host)"
	}
	return text
}

// beginFew is begin for at most n flows.
func (q *question) beginFew(n int64) string {
	limit := " LIMIT " + q.arg("few", n)
	if namesHosts(q.Where) {
		return q.begin() + " WITH src, f, dst" + limit
	}
	return q.beginFor("") + " WITH f" + limit + " MATCH " + path(true, true, "")
}

// namesHosts reports whether a text of ours is about src or dst.
func namesHosts(text string) bool {
	return strings.Contains(text, "src") || strings.Contains(text, "dst")
}

// beginInOrder is begin for rows that are to be sorted. Of all flows by their
// clients the index has the beginning of the order: each client's flows are sorted
// on their own then, and a page needs no more than its own.
func (q *question) beginInOrder(order string) string {
	if q.Match == filter.CypherFlows && q.Where == "true" && strings.HasPrefix(order, "src.sort") {
		return filter.CypherFlows + " USING INDEX src:Host(sort) WHERE src.sort >= ''"
	}
	return q.begin()
}

// arg adds a parameter and returns its placeholder.
func (q *question) arg(name string, v any) string {
	q.Params[name] = v
	return "$" + name
}

// page returns what cuts a page out of sorted rows.
func (q *question) page(skip, limit int) (text string) {
	if skip > 0 {
		text += " SKIP " + q.arg("skip", int64(skip))
	}
	if limit > 0 {
		text += " LIMIT " + q.arg("limit", int64(limit))
	}
	return text
}

// errStop ends a query whose further records nobody wants.
var errStop = errors.New("no more records are wanted")

// answer runs the queries of a question in one transaction: those for patterns,
// then text. Transient errors are retried as long as each was not called.
func (d *DB) answer(ctx context.Context, q *question, text string, each func(*neo4j.Record) error) error {
	called := false
	err := d.reading(ctx, func() bool { return !called }, func(t *tx) error {
		err := q.Fill(t.ctx, func(_ context.Context, query string, params map[string]any, value func(v any) error) error {
			return t.each(query, params, func(r *neo4j.Record) error { return value(r.Values[0]) })
		})
		if err != nil {
			return err
		}
		return t.each(text, q.Params, func(r *neo4j.Record) error {
			called = true
			return each(r)
		})
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// label returns the terms that sort by protocol and port or ICMP type.
func label() []string { return []string{"f.proto", "f.dport", "f.type"} }

// keyOrder returns the terms that sort by a flow's key.
func keyOrder() []string { return append([]string{"src.sort", "dst.sort"}, label()...) }

// orderBy returns the terms that sort flows, the key last. In Neo4j what is missing
// is greatest; only ports and types can be.
func orderBy(orders []store.Order) (string, error) {
	var terms []string
	add := func(list []string, desc bool) {
		for _, term := range list {
			if !desc {
				terms = append(terms, term)
				continue
			}
			if term == "f.dport" || term == "f.type" {
				terms = append(terms, term+" IS NULL")
			}
			terms = append(terms, term+" DESC")
		}
	}
	for _, o := range orders {
		if o.Attr == "flow" {
			add(label(), o.Desc)
			continue
		}
		a, err := attributes().OrderBy(o.Attr)
		if err != nil {
			return "", err
		}
		switch a.Name {
		case "src.addr":
			add([]string{"src.sort"}, o.Desc)
		case "dst.addr":
			add([]string{"dst.sort"}, o.Desc)
		case "duration":
			add([]string{filter.CypherDuration}, o.Desc)
		default:
			add([]string{"f." + a.Name}, o.Desc)
		}
	}
	add(keyOrder(), false)
	return strings.Join(terms, ", "), nil
}

// flowText returns the columns of a flow, as scanFlow reads them.
const flowText = "src.addr, dst.addr, f.proto, f.dport, f.type, f.sports, f.codes, " +
	"f.count, f.cspkts, f.scpkts, f.csbytes, f.scbytes, f.firstseen, f.lastseen, " +
	"f.conn_state, f.service, f.vlan, f.sensor"

// Flows implements store.FlowLister.
func (d *DB) Flows(ctx context.Context, q store.Query) iter.Seq2[*store.Flow, error] {
	return func(yield func(*store.Flow, error) bool) {
		if err := d.flows(ctx, q, func(f *store.Flow) bool { return yield(f, nil) }); err != nil {
			yield(nil, fmt.Errorf("list flows: %w", err))
		}
	}
}

func (d *DB) flows(ctx context.Context, sq store.Query, yield func(*store.Flow) bool) error {
	q, err := ask(sq.Filter)
	if err != nil {
		return err
	}
	order, err := orderBy(sq.OrderBy)
	if err != nil {
		return err
	}
	text := q.beginInOrder(order) + " WITH src, f, dst ORDER BY " + order + q.page(sq.Skip, sq.Limit)
	columns := flowText
	if sq.Times {
		columns += ", f.times"
	}
	if sq.Intel == 0 {
		return d.answer(ctx, q, text+" RETURN "+columns, func(r *neo4j.Record) error {
			f, err := scanFlow(r.Values, sq.Times)
			if err != nil {
				return err
			}
			if !yield(f) {
				return errStop
			}
			return nil
		})
	}
	// Behind each flow comes its intel, a row for each relation: there may be many.
	text += " CALL (src, f, dst) { RETURN [" + columns + "] AS head, null AS i, null AS m UNION ALL " +
		"MATCH (f)-[m:INTEL]->(i:Intel) RETURN null AS head, i, m } RETURN f.key, head, labels(i), properties(i), properties(m)"
	l := intelList{query: sq, intel: newGathering(), yield: yield}
	if err := d.answer(ctx, q, text, l.add); err != nil || l.stopped {
		return err
	}
	l.finish()
	return nil
}

// intelList puts flows together with their intel.
type intelList struct {
	query store.Query
	intel *gathering
	yield func(*store.Flow) bool
	// flow is the one whose intel is gathered, key is its.
	flow    *store.Flow
	key     string
	stopped bool
}

// add adds a row.
func (l *intelList) add(r *neo4j.Record) error {
	s := scanner{values: r.Values}
	key, head := s.text(), s.list()
	if s.err != nil {
		return s.err
	}
	if head != nil {
		if !l.finish() {
			return errStop
		}
		f, err := scanFlow(head, l.query.Times)
		l.flow, l.key = f, key
		l.intel.reset()
		return err
	}
	if l.flow == nil || l.key != key {
		return fmt.Errorf("intel of %q does not follow its flow", key)
	}
	labels, node, relation := s.list(), scan[map[string]any](&s, s.next()), scan[map[string]any](&s, s.next())
	count := scan[int64](&s, relation["count"])
	return cmp.Or(s.err, l.intel.add(labels, node, relation, count))
}

// finish yields the flow that is complete, if any.
func (l *intelList) finish() bool {
	if l.flow == nil {
		return true
	}
	l.flow.Intel, l.flow.MoreIntel = l.intel.page(l.query.Intel)
	l.stopped = !l.yield(l.flow)
	l.flow = nil
	return !l.stopped
}

// scanFlow reads the columns of flowText, and the times where they follow.
func scanFlow(v []any, times bool) (*store.Flow, error) {
	s := scanner{values: v}
	f := new(store.Flow)
	f.Src, f.Dst = s.addr(), s.addr()
	f.Proto = s.text()
	f.Dport, f.Type = s.port(), s.port()
	f.Sports, f.Codes = s.ports(), s.ports()
	for _, n := range []*int64{&f.Count, &f.CSPkts, &f.SCPkts, &f.CSBytes, &f.SCBytes} {
		*n = s.number()
	}
	f.FirstSeen, f.LastSeen = s.time(), s.time()
	f.ConnState, f.Service = s.texts(), s.texts()
	f.VLAN, f.Sensor = s.ports(), s.texts()
	if times {
		for _, v := range s.list() {
			f.Times = append(f.Times, scan[time.Time](&s, v).UTC())
		}
	}
	if s.err != nil {
		return nil, fmt.Errorf("a flow is not as weir makes them: %w", s.err)
	}
	return f, nil
}

// scanner reads values of a record one after the other.
type scanner struct {
	values []any
	n      int
	err    error
}

// scan returns the next value, nil where it is missing.
func scan[T any](s *scanner, v any) (out T) {
	out, ok := v.(T)
	if !ok && s.err == nil {
		s.err = fmt.Errorf("value %d is a %T", s.n, v)
	}
	return out
}

func (s *scanner) next() any {
	s.n++
	return s.values[s.n-1]
}

func (s *scanner) text() string    { return scan[string](s, s.next()) }
func (s *scanner) number() int64   { return scan[int64](s, s.next()) }
func (s *scanner) time() time.Time { return scan[time.Time](s, s.next()).UTC() }

func (s *scanner) addr() netip.Addr {
	a, err := netip.ParseAddr(s.text())
	if err != nil && s.err == nil {
		s.err = err
	}
	return a
}

// small returns a number of 16 bits.
func (s *scanner) small(v any) uint16 {
	n := scan[int64](s, v)
	if n != int64(uint16(n)) && s.err == nil {
		s.err = fmt.Errorf("value %d is %d", s.n, n)
	}
	return uint16(n)
}

// port returns a number of 16 bits, nil if there is none.
func (s *scanner) port() *uint16 {
	v := s.next()
	if v == nil {
		return nil
	}
	return new(s.small(v))
}

// list returns the elements of a list, which may be missing.
func (s *scanner) list() []any {
	v := s.next()
	if v == nil {
		return nil
	}
	return scan[[]any](s, v)
}

func (s *scanner) ports() (out []uint16) {
	for _, v := range s.list() {
		out = append(out, s.small(v))
	}
	return out
}

func (s *scanner) texts() (out []string) {
	for _, v := range s.list() {
		out = append(out, scan[string](s, v))
	}
	return out
}
