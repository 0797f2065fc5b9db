// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"testing"
	"time"

	"weir/store"
)

// someRows is a result without types, as Cypher's are.
type someRows struct {
	columns []string
	rows    [][]any
	err     error // after them
}

func (r someRows) Columns() []store.Column {
	var list []store.Column
	for _, name := range r.columns {
		list = append(list, store.Column{Name: name, Type: "ANY"})
	}
	return list
}

func (r someRows) All() iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		for _, row := range r.rows {
			if !yield(row, nil) {
				return
			}
		}
		if r.err != nil {
			yield(nil, r.err)
		}
	}
}

func (r someRows) Close() error { return nil }

// printAs prints rows in a format.
func printAs(w io.Writer, f format, rows store.Rows) error {
	return printRows(&output{w: w, format: f, style: style{sep: " | "}, line: new(waiting)}, rows)
}

// TestGraphRows shows what graphs are made of in every format.
func TestGraphRows(t *testing.T) {
	type m = map[string]any
	host := m{"labels": []any{"Host"}, "properties": m{"addr": "10.0.0.1", "lastseen": time.Unix(1e9, 0)}}
	for _, tc := range []struct {
		name             string
		value            any
		table, csv, json string
	}{
		{
			"node", host, "(:Host {addr: 10.0.0.1, lastseen: 2001-09-09 01:46:40})",
			`"{""labels"":[""Host""],""properties"":{""addr"":""10.0.0.1"",""lastseen"":""2001-09-09T01:46:40Z""}}"`,
			`{"labels":["Host"],"properties":{"addr":"10.0.0.1","lastseen":"2001-09-09T01:46:40Z"}}`,
		},
		{
			"two labels",
			m{"labels": []any{"Intel", "DNS"}, "properties": m{}},
			"(:Intel:DNS)",
			`"{""labels"":[""Intel"",""DNS""],""properties"":{}}"`, `{"labels":["Intel","DNS"],"properties":{}}`,
		},
		{
			"no label",
			m{"labels": []any{}, "properties": m{"a": int64(1)}},
			"({a: 1})",
			`"{""labels"":[],""properties"":{""a"":1}}"`, `{"labels":[],"properties":{"a":1}}`,
		},
		{
			"relation",
			m{"type": "INTEL", "properties": m{"ttls": []any{60.0, 1.5}}},
			"[:INTEL {ttls: [60, 1.5]}]",
			`"{""properties"":{""ttls"":[60,1.5]},""type"":""INTEL""}"`, `{"properties":{"ttls":[60,1.5]},"type":"INTEL"}`,
		},
		{
			"bare relation",
			m{"type": "SEND", "properties": m{}},
			"[:SEND]",
			`"{""properties"":{},""type"":""SEND""}"`, `{"properties":{},"type":"SEND"}`,
		},
		{
			"path",
			[]any{m{"labels": []any{"A"}, "properties": m{}}, m{"type": "T", "properties": m{}}, nil},
			"[(:A), [:T], ]",
			`"[{""labels"":[""A""],""properties"":{}},{""properties"":{},""type"":""T""},null]"`,
			`[{"labels":["A"],"properties":{}},{"properties":{},"type":"T"},null]`,
		},
		{
			"map that is neither",
			m{"properties": m{}, "x": nil},
			"{properties: {}, x: }",
			`"{""properties"":{},""x"":null}"`, `{"properties":{},"x":null}`,
		},
		{"map of maps", m{"k": m{"l": []any{true}}}, "{k: {l: [true]}}", `"{""k"":{""l"":[true]}}"`, `{"k":{"l":[true]}}`},
		{
			"hostile",
			m{"labels": []any{"\x1b[1m"}, "properties": m{}},
			`(:\x1b[1m)`,
			`"{""labels"":[""\u001b[1m""],""properties"":{}}"`, `{"labels":["\u001b[1m"],"properties":{}}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rows := someRows{columns: []string{"v"}, rows: [][]any{{tc.value}}}
			var table, csv, json bytes.Buffer
			if err := errors.Join(printAs(&table, asText, rows), printAs(&csv, asCSV, rows), printAs(&json, asNDJSON, rows)); err != nil {
				t.Fatal(err)
			}
			for _, got := range []struct{ format, got, want string }{
				{"table", table.String(), "v\n" + tc.table + "\n"},
				{"CSV", csv.String(), "v\n" + tc.csv + "\n"},
				{"JSON", json.String(), `{"v":` + tc.json + "}\n"},
			} {
				if got.got != got.want {
					t.Errorf("%s = %q, want %q", got.format, got.got, got.want)
				}
			}
		})
	}
}

// TestRowsWithoutTypes checks that the first row says what is aligned to the
// right, and that nothing is printed of a result that failed at once, or that has
// no columns.
func TestRowsWithoutTypes(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name string
		rows someRows
		want string
		err  error
	}{
		{
			"numbers",
			someRows{columns: []string{"name", "count", "share"}, rows: [][]any{{"a", int64(5), 0.5}, {"long", nil, "?"}}},
			"name | count | share\na    |     5 |   0.5\nlong |       |     ?\n", nil,
		},
		{"no rows", someRows{columns: []string{"a", "b"}}, "a | b\n", nil},
		{"no columns", someRows{}, "", nil},
		{"an error at once", someRows{columns: []string{"a"}, err: broken}, "", broken},
		{"an error later", someRows{columns: []string{"a"}, rows: [][]any{{"x"}}, err: broken}, "a\nx\n", broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := printAs(&b, asText, tc.rows); !errors.Is(err, tc.err) {
				t.Errorf("error %v, want %v", err, tc.err)
			}
			if b.String() != tc.want {
				t.Errorf("table = %q, want %q", b.String(), tc.want)
			}
		})
	}
}
