// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"net/netip"
	"strings"

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
		if a := attributeOf(known); a.sort != nil {
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
	if !d.fits(q.Limit) && !d.fits(d.connRows()) {
		return d.flowPages(ctx, q, yield)
	}
	c, err := d.condition(q.Filter)
	if err != nil {
		return err
	}
	text, err := flowsSQL(c, q)
	if err != nil {
		return err
	}
	rows, err := d.query(ctx, text, c.args...)
	if err != nil {
		return err
	}
	_, err = scanFlows(rows, yield)
	return err
}

// fits reports whether so many flows can be gathered at once: the lists of
// their ports and so on stay in memory, while all else can spill into files.
func (d *DB) fits(flows int) bool { return flows > 0 && flows <= d.pageFlows }

// flowBytes is about what DuckDB holds for a flow with its lists, rounded up
// for flows of many connections.
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

// flowPages yields flows page by page, all from one snapshot.
func (d *DB) flowPages(ctx context.Context, q store.Query, yield func(*store.Flow, error) bool) error {
	for tries := 1; ; tries++ {
		started := false
		p, err := d.pin(ctx)
		if err != nil {
			return err
		}
		err = p.flows(ctx, q, func(f *store.Flow, err error) bool {
			started = true
			return yield(f, err)
		})
		p.release()
		if cerr := ctx.Err(); err != nil && cerr != nil {
			return cerr
		}
		if err == nil || started || !isIO(err) || tries == maxTries {
			return d.explain(ctx, err)
		}
		// Parts are gone for good.
		if err := d.Refresh(ctx); err != nil {
			return err
		}
		if d.snapshot() == p.manifest {
			return d.explain(ctx, err)
		}
	}
}

// flows yields the flows of a snapshot.
func (p *pinned) flows(ctx context.Context, q store.Query, yield func(*store.Flow, error) bool) error {
	for left := q.Limit; ; {
		page := q
		page.Limit = p.db.pageFlows
		if q.Limit > 0 {
			page.Limit = min(page.Limit, left)
		}
		c, err := conditionOn(p.schema, p.manifest, q.Filter)
		if err != nil {
			return err
		}
		text, err := flowsSQL(c, page)
		if err != nil {
			return err
		}
		rows, err := p.query(ctx, text, c.args...)
		if err != nil {
			return err
		}
		n, err := scanFlows(rows, yield)
		if err != nil || n < page.Limit {
			return err
		}
		q.Skip += n
		if left -= n; left == 0 {
			return nil
		}
	}
}

// scanFlows yields the flows of a result and returns how many it had, fewer if
// yield returned false.
func scanFlows(rows *sql.Rows, yield func(*store.Flow, error) bool) (n int, err error) {
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	for rows.Next() {
		f, err := scanFlow(rows)
		if err != nil {
			return n, err
		}
		if !yield(f, nil) {
			return n, nil
		}
		n++
	}
	return n, rows.Err()
}

// flowsSQL returns the query that lists flows. Where a page is wanted, it
// chooses the page's keys with what the filter and the sort need, and gathers
// everything else for those flows only.
func flowsSQL(c *condition, q store.Query) (string, error) {
	order, err := orderBy(q.OrderBy)
	if err != nil {
		return "", err
	}
	text, cut := c.flows(), c.page(q.Skip, q.Limit)
	if q.Limit == 0 {
		exclude := "src_bin, dst_bin"
		if c.times {
			exclude += ", times"
		}
		text += " SELECT * EXCLUDE (" + exclude + ") FROM flows ORDER BY " + order + cut
		return text, nil
	}
	return text + ", page AS MATERIALIZED (SELECT " + flowKey + " FROM flows ORDER BY " + order + cut + ") " +
		"SELECT * EXCLUDE (src_bin, dst_bin) FROM (" +
		flowsOf(c.schema, c.rolled, false, "EXISTS (FROM page WHERE "+sameFlow("page", "conn")+")",
			"any_value(src_bin) AS src_bin", "any_value(dst_bin) AS dst_bin") +
		") ORDER BY " + order, nil
}

// sameFlow is the condition that rows of two tables are of the same flow.
func sameFlow(a, b string) string {
	return fmt.Sprintf("%[1]s.src = %[2]s.src AND %[1]s.dst = %[2]s.dst AND %[1]s.proto = %[2]s.proto AND "+
		"%[1]s.dport IS NOT DISTINCT FROM %[2]s.dport AND %[1]s.type IS NOT DISTINCT FROM %[2]s.type", a, b)
}

// scanFlow reads a row with the columns of flowColumns.
func scanFlow(rows *sql.Rows) (*store.Flow, error) {
	f := new(store.Flow)
	var src, dst string
	var dport, typ sql.NullInt32
	var sports, codes, states, services, vlans, sensors any
	err := rows.Scan(&src, &dst, &f.Proto, &dport, &typ, &sports, &codes, &f.Count,
		&f.CSPkts, &f.SCPkts, &f.CSBytes, &f.SCBytes, &f.FirstSeen, &f.LastSeen,
		&states, &services, &vlans, &sensors)
	if err != nil {
		return nil, err
	}
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
	c, err := d.condition(q.Filter)
	if err != nil {
		return n, err
	}
	rows, err := d.query(ctx, c.flows()+
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
