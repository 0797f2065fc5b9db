// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
)

// attributes returns what questions can name.
func attributes() store.Attributes { return store.AttributesOf("neo4j") }

// unwind returns the clause that makes a row for each value of an attribute of
// the flow, or one without where there is none.
func unwind(a *store.Attribute, name string) string {
	switch {
	case a.Kind != nil:
		return " UNWIND " + orNothing("COLLECT { "+intelText(a)+" }") + " AS " + name
	case a.Name == "addr":
		return " UNWIND " + bothEnds + " AS " + name
	case a.Name == "times.start":
		return " UNWIND " + orNothing("f.times") + " AS " + name
	case a.Name == "times.end":
		return " UNWIND " + orNothing("[t IN f.times | t + duration({seconds: $precision})]") + " AS " + name
	case a.Name == "times.end":
		return " UNWIND " + orNothing(slotEnds) + " AS " + name
	case a.Name == "times.duration":
		return " UNWIND " + slotWidths + " AS " + name
	case a.Set:
		return " UNWIND " + orNothing("f."+a.Name) + " AS " + name
	}
	return " WITH *, " + scalarText(a) + " AS " + name
}

const (
	// bothHosts is the list of the hosts of a flow.
	bothHosts = "CASE WHEN src = dst THEN [src] ELSE [src, dst] END"
	// bothEnds is the list of the addresses of a flow.
	bothEnds = "CASE WHEN src.addr = dst.addr THEN [src.addr] ELSE [src.addr, dst.addr] END"
	// slotEnds is the list of the ends of a flow's slots.
	slotEnds = "[t IN f.times | t + duration({seconds: $precision})]"
	// slotWidths is the list of the widths of a flow's slots, or of null where there are none.
	slotWidths = "CASE WHEN size(f.times) > 0 THEN [$precision] ELSE [null] END"
)

// needPrecision sets the parameter for the width of slots where a text has it.
func (d *DB) needPrecision(ctx context.Context, q *question, text string) error {
	if !strings.Contains(text, "$precision") {
		return nil
	}
	width, err := d.precision(ctx)
	if err == nil {
		q.Params["precision"] = width.Seconds()
	}
	return err
}

// orNothing returns the expression for a list, or for one that holds null where
// there is none or it is empty.
func orNothing(list string) string {
	return "[x IN [" + list + "] | CASE WHEN size(x) > 0 THEN x ELSE [null] END][0]"
}

// scalarText returns the expression for the value of an attribute that is no set.
func scalarText(a *store.Attribute) string {
	switch a.Name {
	case "src.addr":
		return "src.addr"
	case "dst.addr":
		return "dst.addr"
	case "duration":
		return filter.CypherDuration + " / 1e6"
	}
	return "f." + a.Name
}

// intelText returns the query for the distinct values of an attribute of a flow's
// intel.
func intelText(a *store.Attribute) string {
	value := "i."
	if a.Attr.Role == flow.Measure {
		value = "m."
	}
	value += a.Attr.FilterName()
	match := "MATCH (f)-[m:INTEL]->(i:" + a.Kind.Label + ")"
	if a.Attr.Type.List() {
		return match + " UNWIND " + value + " AS v RETURN DISTINCT v"
	}
	return match + " WHERE " + value + " IS NOT NULL RETURN DISTINCT " + value
}

// Half of a sum: what Neo4j adds up must not overflow.
const halfBits = 1 << 32

// halves is a sum over the rows of a group, at most math.MaxInt64, in two steps.
type halves struct{ high, low []string }

// add adds an expression to what is summed up.
func (h *halves) add(text string) {
	h.high = append(h.high, fmt.Sprintf("%s / %d", text, int64(halfBits)))
	h.low = append(h.low, fmt.Sprintf("%s %% %d", text, int64(halfBits)))
}

// parts returns the aggregations, called after a name.
func (h *halves) parts(name string) string {
	return "sum(" + strings.Join(h.high, " + ") + ") AS " + name + "_high, sum(" + strings.Join(h.low, " + ") + ") AS " + name + "_low"
}

// whole returns the expression for the sum, of what has these names.
func (h *halves) whole(name string) string {
	high, low := name+"_high", name+"_low"
	return fmt.Sprintf("CASE WHEN %[4]s + %[5]s / %[1]d >= %[2]d THEN %[3]d ELSE %[4]s * %[1]d + %[5]s END",
		int64(halfBits), int64(math.MaxInt64/halfBits+1), int64(math.MaxInt64), high, low)
}

// Top implements store.Ranker.
func (d *DB) Top(ctx context.Context, sq store.TopQuery) ([]store.TopRow, error) {
	rows, err := d.top(ctx, sq)
	if err != nil {
		return nil, fmt.Errorf("rank flows: %w", err)
	}
	return rows, nil
}

func (d *DB) top(ctx context.Context, sq store.TopQuery) ([]store.TopRow, error) {
	text, q, err := topText(sq)
	if err != nil {
		return nil, err
	}
	if err := d.needPrecision(ctx, q, text); err != nil {
		return nil, err
	}
	var out []store.TopRow
	err = d.answer(ctx, q, text, func(r *neo4j.Record) error {
		s := scanner{values: r.Values}
		var row store.TopRow
		for range sq.Fields {
			row.Fields = append(row.Fields, plain(s.next()))
		}
		row.Count = s.number()
		for _, tuple := range s.list() {
			row.Collected = append(row.Collected, plainAll(scan[[]any](&s, tuple)))
		}
		slices.SortFunc(row.Collected, compareTuples)
		out = append(out, row)
		return s.err
	})
	// The server has another order of characters beyond U+FFFF.
	slices.SortFunc(out, func(a, b store.TopRow) int {
		c := cmp.Compare(a.Count, b.Count)
		if !sq.Least {
			c = -c
		}
		return cmp.Or(c, compareTuples(a.Fields, b.Fields))
	})
	return out, err
}

// plain turns a value of the driver into one of store's.
func plain(v any) any {
	if t, ok := v.(time.Time); ok {
		return t.UTC()
	}
	return v
}

func plainAll(list []any) []any {
	for i := range list {
		list[i] = plain(list[i])
	}
	return list
}

// compareTuples orders lists of values of the same types, those that are missing
// last.
func compareTuples(a, b []any) int {
	for i := range a {
		if c := compareValues(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

func compareValues(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	switch a := a.(type) {
	case string:
		return compareAs(a, b, cmp.Compare)
	case int64:
		return compareAs(a, b, cmp.Compare)
	case float64:
		return compareAs(a, b, cmp.Compare)
	case time.Time:
		return compareAs(a, b, time.Time.Compare)
	case []any:
		other, _ := b.([]any)
		return slices.CompareFunc(a, other, compareValues)
	case bool:
		return compareAs(a, b, func(a, b bool) int {
			switch {
			case a == b:
				return 0
			case a:
				return 1
			}
			return -1
		})
	}
	return 0
}

// compareAs compares values of one type; b is of another only in a graph that
// others changed.
func compareAs[T any](a T, b any, compare func(a, b T) int) int {
	other, _ := b.(T)
	return compare(a, other)
}

// topText returns the query that ranks groups. A set makes a row for each of its
// elements, one without value where it has none. What is collected is looked up
// for the groups shown only, apart from the ranking: several elements of a
// collected set must not count a flow several times.
func topText(sq store.TopQuery) (string, *question, error) {
	known := attributes()
	if len(sq.Fields) == 0 {
		_, err := known.GroupBy("")
		return "", nil, err
	}
	q, err := ask(sq.Filter)
	if err != nil {
		return "", nil, err
	}
	text := ""
	var names, shown []string
	for i, field := range sq.Fields {
		a, err := known.GroupBy(field)
		if err != nil {
			return "", nil, err
		}
		names = append(names, fmt.Sprintf("f%d", i))
		// Hosts are grouped as such: each is asked for its address once, and not for each flow.
		switch a.Name {
		case "src.addr", "dst.addr":
			host, _, _ := strings.Cut(a.Name, ".")
			text += " WITH *, " + host + " AS " + names[i]
			shown = append(shown, names[i]+".addr AS "+names[i])
		case "addr":
			text += " UNWIND " + bothHosts + " AS " + names[i]
			shown = append(shown, names[i]+".addr AS "+names[i])
		default:
			text += unwind(a, names[i])
			shown = append(shown, names[i])
		}
	}
	collect := ""
	var tuple []string
	for i, name := range sq.Collect {
		a, err := known.Collect(name)
		if err != nil {
			return "", nil, err
		}
		tuple = append(tuple, fmt.Sprintf("c%d", i))
		collect += unwind(a, tuple[i])
	}
	var sums []*store.Attribute
	for _, name := range sq.Sum {
		a, err := known.Sum(name)
		if err != nil {
			return "", nil, err
		}
		sums = append(sums, a)
	}
	list := strings.Join(names, ", ")
	flows, gathered := "", ""
	if len(tuple) > 0 {
		flows, gathered = ", flows", ", collect(f) AS flows"
	}
	amount := "amount"
	if len(sums) > 0 {
		sum := new(halves)
		for _, a := range sums {
			sum.add(scalarText(a))
		}
		text += " WITH " + list + ", " + sum.parts("sum") + gathered
		amount = sum.whole("sum") + " AS amount"
	} else {
		text += " WITH " + list + ", count(*) AS amount" + gathered
	}
	text += " WITH " + strings.Join(shown, ", ") + ", " + amount + flows
	text = q.beginFor(text) + text
	order := " ORDER BY amount"
	if !sq.Least {
		order += " DESC"
	}
	order += ", " + list
	if len(tuple) == 0 {
		return text + " RETURN " + list + ", amount, null" + order + q.page(sq.Skip, sq.Limit), q, nil
	}
	text += " WITH *" + order + q.page(sq.Skip, sq.Limit) + " UNWIND flows AS f" +
		" MATCH (src:Host)-[:SEND]->(f)-[:TO]->(dst:Host)" + collect +
		" WITH " + list + ", amount, collect(DISTINCT [" + strings.Join(tuple, ", ") + "]) AS tuples" +
		" RETURN " + list + ", amount, tuples"
	return text, q, nil
}
