// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"fmt"
	"strings"

	"weir/internal/flow"
	"weir/store"
)

// intelAttrs returns the attributes of a kind that the lake keeps, or only those
// that make a node of the graph.
func intelAttrs(kind *flow.KindInfo, keys bool) []flow.Attr {
	var out []flow.Attr
	for _, a := range kind.Attrs {
		if !a.LogOnly && (!keys || a.Role == flow.Key) {
			out = append(out, a)
		}
	}
	return out
}

// intelSelect returns the query of the records of a kind of intel, with those that
// have the same attributes as one. of are the expressions over the record m that say
// whose they are, source is what it comes from. The columns are k0 and so on for
// these, top for a list of the first most records (store.Flow.Intel has their order),
// and total for the number of all.
func intelSelect(attrs []flow.Attr, of []string, source string, most int) string {
	var keys, names, columns, order, members []string
	for i, expr := range of {
		k := fmt.Sprintf("k%d", i)
		keys, names, columns = append(keys, k), append(names, k), append(columns, expr+" AS "+k)
	}
	for i, a := range attrs {
		v := fmt.Sprintf("v%d", i)
		names, columns = append(names, v), append(columns, "m."+ident(a.Column)+" AS "+v)
		order, members = append(order, v+" NULLS LAST"), append(members, v+": "+v)
	}
	bound := ""
	if most != store.All {
		bound = fmt.Sprintf(" FILTER (place <= %d)", most)
	}
	key := strings.Join(keys, ", ")
	return "SELECT " + key + ", list({n: n, v: {" + strings.Join(members, ", ") + "}} ORDER BY place)" + bound + " AS top, " +
		"count(*) AS total FROM (SELECT *, row_number() OVER (PARTITION BY " + key + " ORDER BY n DESC, " +
		strings.Join(order, ", ") + ") AS place FROM (SELECT " + strings.Join(names, ", ") + ", count(*) AS n FROM (SELECT " +
		strings.Join(columns, ", ") + " FROM " + source + ") GROUP BY ALL)) GROUP BY " + key
}

// flowIntel returns the columns of the intel of the flows in a relation, two for each
// kind, and the joins that make them. Of the records only those are looked at for
// which where, a condition on a record m, is true; "" is none.
func flowIntel(schema, flows, where string, most int) (columns, joins string) {
	if where != "" {
		where = " WHERE " + where
	}
	kinds := flow.Kinds()
	for i := range kinds {
		name := fmt.Sprintf("intel_%d", i)
		columns += fmt.Sprintf(", %[1]s.top, %[1]s.total", name)
		joins += fmt.Sprintf(" LEFT JOIN (%[1]s) AS %[2]s ON %[2]s.k0 = %[3]s.src AND %[2]s.k1 = %[3]s.dst AND "+
			"%[2]s.k2 = %[3]s.proto AND %[2]s.k3 IS NOT DISTINCT FROM %[3]s.dport",
			intelSelect(intelAttrs(&kinds[i], false), []string{"m.src", "m.dst", "m.proto", "m.dport"},
				schema+"."+ident(kinds[i].Name)+" AS m"+where, most), name, flows)
	}
	return columns, joins
}

// ofPage is the condition that a record of intel m is of a flow of the page.
const ofPage = "EXISTS (FROM page WHERE page.src = m.src AND page.dst = m.dst AND page.proto = m.proto AND " +
	"page.dport IS NOT DISTINCT FROM m.dport)"

// intelList reads records of intel, the columns top and total of intelSelect for a
// kind, and adds them to those of other kinds, most of them at most. left counts those
// that are left out.
func intelList(list []store.Intel, kind *flow.KindInfo, attrs []flow.Attr, top, total any, most int) (out []store.Intel, left int64) {
	left, _ = total.(int64)
	records, _ := top.([]any)
	for _, r := range records {
		if most != store.All && len(list) >= most {
			break
		}
		record, _ := r.(map[string]any)
		values, _ := record["v"].(map[string]any)
		in := store.Intel{Kind: kind.Name, Attrs: make(map[string]any)}
		in.Count, _ = record["n"].(int64)
		for i := range attrs {
			if v := plain(values[fmt.Sprintf("v%d", i)]); v != nil {
				in.Attrs[attrs[i].FilterName()] = v
			}
		}
		list = append(list, in)
		left--
	}
	return list, left
}
