// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"time"

	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
)

// orderBy returns the expressions that sort flows, the key last.
func orderBy(orders []store.Order) (string, error) {
	var terms []string
	add := func(list []string, desc bool) {
		for _, term := range list {
			if desc {
				term += " DESC"
			}
			terms = append(terms, term+" NULLS LAST")
		}
	}
	for _, o := range orders {
		if o.Attr == "flow" {
			add([]string{"proto", "dport", "type"}, o.Desc)
			continue
		}
		known, err := attributes().OrderBy(o.Attr)
		if err != nil {
			return "", err
		}
		if a := attributeOf(known, lake.SlotWidth); a.sort != nil {
			add(a.sort, o.Desc)
		} else {
			add([]string{a.sql}, o.Desc)
		}
	}
	add(keyOrder(), false)
	return strings.Join(terms, ", "), nil
}

// Flows implements store.FlowLister.
func (d *DB) Flows(ctx context.Context, q store.Query) iter.Seq2[*store.Flow, error] {
	return func(yield func(*store.Flow, error) bool) {
		if err := d.flows(ctx, q, yield); err != nil {
			yield(nil, fmt.Errorf("list flows: %w", err))
		}
	}
}

// flows yields flows until yield returns false.
func (d *DB) flows(ctx context.Context, q store.Query, yield func(*store.Flow, error) bool) error {
	rows := d.pageFlows
	if q.Intel != 0 {
		rows = max(1, rows/intelRows)
	}
	scan := func(rows *sql.Rows) (*store.Flow, error) { return scanFlow(rows, &q) }
	return d.inPages(ctx, q, rows, func(r *relations, page store.Query) (int, error) {
		c, err := r.condition(q.Filter)
		if err != nil {
			return 0, err
		}
		text, err := flowsSQL(c, page)
		if err != nil {
			return 0, err
		}
		rows, err := r.query(ctx, text, c.args...)
		if err != nil {
			return 0, err
		}
		return scanned(rows, scan, yield)
	})
}

// intelRows is how many times as large a flow is with its intel.
const intelRows = 8

// flowBytes is about what DuckDB holds for a flow with its lists, rounded up
// for flows of many connections. The lists stay in memory, while all else can spill
// into files.
const flowBytes = 4 << 10

// connRows returns the number of connections of the snapshot.
func (d *DB) connRows() int {
	var rows int64
	for i, m := 0, d.snapshot(); i < len(m.Parts); i++ {
		if m.Parts[i].Kind == lake.ConnTable {
			rows += m.Parts[i].Rows
		}
	}
	return int(rows)
}

// flowsSQL returns the query that lists flows. Where a page is wanted, it
// chooses the page's keys with what the filter and the sort need, and gathers
// everything else for those flows only.
func flowsSQL(c *condition, q store.Query) (string, error) {
	order, err := orderBy(q.OrderBy)
	if err != nil {
		return "", err
	}
	if q.Limit == 0 {
		c.times = c.times || q.Times
		text := c.flows()
		exclude := "src_bin, dst_bin"
		if c.times && !q.Times {
			exclude += ", times"
		}
		columns, joins := shownIntel(c, q, "")
		return text + " SELECT flows.* EXCLUDE (" + exclude + ")" + columns + " FROM flows" + joins +
			" ORDER BY " + order + c.page(q.Skip, q.Limit), nil
	}
	columns, joins := shownIntel(c, q, ofPage)
	return c.flowPage(&q, order) + " SELECT flows.* EXCLUDE (src_bin, dst_bin)" + columns + " FROM (" +
		flowsOf(c.schema, c.layers, q.Times, true, onPage()) +
		") AS flows" + joins + " ORDER BY " + order, nil
}

// shownIntel is flowIntel of the relation flows, nothing where q wants none.
func shownIntel(c *condition, q store.Query, where string) (columns, joins string) {
	if q.Intel == 0 {
		return "", ""
	}
	return flowIntel(c.schema, "flows", where, q.Intel)
}

// sameFlow is the condition that rows of two tables are of the same flow.
func sameFlow(a, b string) string {
	return fmt.Sprintf("%[1]s.src = %[2]s.src AND %[1]s.dst = %[2]s.dst AND %[1]s.proto = %[2]s.proto AND "+
		"%[1]s.dport IS NOT DISTINCT FROM %[2]s.dport AND %[1]s.type IS NOT DISTINCT FROM %[2]s.type", a, b)
}

// scanFlow reads a row with the columns of flowColumns and those that q wants beside
// them.
func scanFlow(rows *sql.Rows, q *store.Query) (*store.Flow, error) {
	f := new(store.Flow)
	var src, dst string
	var dport, typ sql.NullInt32
	var sports, codes, states, services, vlans, sensors, slots any
	into := []any{
		&src, &dst, &f.Proto, &dport, &typ, &sports, &codes, &f.Count,
		&f.CSPkts, &f.SCPkts, &f.CSBytes, &f.SCBytes, &f.FirstSeen, &f.LastSeen,
		&states, &services, &vlans, &sensors,
	}
	if q.Times {
		into = append(into, &slots)
	}
	kinds := flow.Kinds()
	intel := make([]any, 2*len(kinds))
	if q.Intel != 0 {
		for i := range intel {
			into = append(into, &intel[i])
		}
	}
	err := rows.Scan(into...)
	if err != nil {
		return nil, err
	}
	for i := range kinds {
		var left int64
		f.Intel, left = intelList(f.Intel, &kinds[i], intelAttrs(&kinds[i], false), intel[2*i], intel[2*i+1], q.Intel)
		f.MoreIntel += left
	}
	f.Times = moments(slots)
	if f.Src, err = netip.ParseAddr(src); err != nil {
		return nil, err
	}
	if f.Dst, err = netip.ParseAddr(dst); err != nil {
		return nil, err
	}
	f.Dport, f.Type = port(dport), port(typ)
	f.Sports, f.Codes, f.VLAN = numbers(sports), numbers(codes), numbers(vlans)
	f.ConnState, f.Service, f.Sensor = texts(states), texts(services), texts(sensors)
	f.FirstSeen, f.LastSeen = f.FirstSeen.UTC(), f.LastSeen.UTC()
	return f, nil
}

// port returns a 16-bit number, nil if there is none.
func port(n sql.NullInt32) *uint16 {
	if !n.Valid {
		return nil
	}
	return new(uint16(n.Int32))
}

// numbers returns the elements of a list of 16-bit numbers.
func numbers(list any) []uint16 {
	values, _ := list.([]any)
	var out []uint16
	for _, v := range values {
		if n, ok := v.(int32); ok {
			out = append(out, uint16(n))
		}
	}
	return out
}

// moments returns the elements of a list of times.
func moments(list any) []time.Time {
	values, _ := list.([]any)
	var out []time.Time
	for _, v := range values {
		if t, ok := v.(time.Time); ok {
			out = append(out, t.UTC())
		}
	}
	return out
}

// texts returns the elements of a list of texts.
func texts(list any) []string {
	values, _ := list.([]any)
	var out []string
	for _, v := range values {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// Counts implements store.Counter.
func (d *DB) Counts(ctx context.Context, q store.Query) (store.Counts, error) {
	n, err := d.counts(ctx, q)
	if err != nil {
		return n, fmt.Errorf("count flows: %w", err)
	}
	return n, nil
}

func (d *DB) counts(ctx context.Context, q store.Query) (n store.Counts, err error) {
	err = d.onCurrent(ctx, func(r *relations) error {
		n, err = r.counts(ctx, q)
		return err
	})
	return n, err
}

func (r *relations) counts(ctx context.Context, q store.Query) (n store.Counts, err error) {
	c, err := r.condition(q.Filter)
	if err != nil {
		return n, err
	}
	rows, err := r.query(ctx, c.flows()+
		" SELECT count(DISTINCT src), count(DISTINCT dst), count(*) FROM flows", c.args...)
	if err != nil {
		return n, err
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	if rows.Next() {
		if err := rows.Scan(&n.Clients, &n.Servers, &n.Flows); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}
