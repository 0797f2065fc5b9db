// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store/storetest"
)

var update = flag.Bool("update", false, "rewrite the generated parts of docs/filters.md")

// filtersPage is the documentation of the language.
const filtersPage = "../../docs/filters.md"

func code(s string) string { return "`" + s + "`" }

// attributesTable returns the table of everything that filters can compare.
func attributesTable() string {
	var b strings.Builder
	b.WriteString("| name | aliases | type | operators | stores | |\n|---|---|---|---|---|---|\n")
	for _, a := range filter.Attributes() {
		aliases := make([]string, len(a.Aliases))
		for i, alias := range a.Aliases {
			aliases[i] = code(alias)
		}
		typ := a.Type.String()
		if a.Fold {
			typ += ", no case"
		}
		if a.Set {
			typ = "set of " + typ
		}
		help := a.Help
		if len(a.Values) > 0 {
			help += ": " + strings.Join(a.Values, ", ")
		}
		stores := strings.Join(a.Stores, ", ")
		if stores == "" {
			stores = "none yet"
		}
		operators := code(strings.Join(a.Operators, " "))
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n",
			code(a.Name), strings.Join(aliases, ", "), typ, operators, stores, help)
	}
	return b.String()
}

// flowsTable returns the table of the fixed data set.
func flowsTable() string {
	port := func(n *uint16) string {
		if n == nil {
			return ""
		}
		return number(n)
	}
	var b strings.Builder
	b.WriteString("| flow | src.addr | dst.addr | proto | dport | type | connections | intel |\n|---|---|---|---|---|---|---|---|\n")
	for _, x := range storetest.Examples() {
		var conns, intel []string
		for i := range x.Conns {
			conns = append(conns, describeConn(&x.Conns[i]))
		}
		for i := range x.Intel {
			intel = append(intel, describe(&x.Intel[i].Intel))
		}
		f := storetest.FlowOf(&x.Conns[0].Tuple)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", x.Name, f.Src, f.Dst, f.Proto, port(f.Dport), port(f.Type),
			strings.Join(conns, "<br>"), strings.Join(intel, "<br>"))
	}
	return b.String()
}

// describeConn says what there is to know of a connection, in a few words.
func describeConn(c *storetest.Conn) string {
	f := storetest.FlowOf(&c.Tuple)
	at := func(t flow.Time) string { return t.Std().Format(time.TimeOnly) }
	parts := []string{at(c.First)}
	if c.Last != c.First {
		parts[0] += " to " + at(c.Last)
	}
	if f.Dport != nil {
		parts = append(parts, fmt.Sprintf("sport %d", c.Sport))
	}
	if f.Type != nil {
		parts = append(parts, fmt.Sprintf("code %d", c.Code))
	}
	if c.VLAN != 0 {
		parts = append(parts, fmt.Sprintf("vlan %d", c.VLAN))
	}
	parts = append(parts, fmt.Sprintf("%d and %d bytes", c.CSBytes, c.SCBytes))
	for _, s := range []string{c.State.String(), c.Service, c.Sensor} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

// describe says what an intel record holds.
func describe(in *filter.Intel) string {
	kind := flow.Kinds()[in.Kind]
	var parts []string
	for i, v := range in.Values {
		if !v.Set {
			continue
		}
		a := &kind.Attrs[i]
		name := a.Name
		if name == "" {
			name = a.Column
		}
		text := v.Text
		interval := func(micros int64) string { return (time.Duration(micros) * time.Microsecond).String() }
		switch a.Type {
		case flow.Text:
		case flow.Count:
			text = fmt.Sprint(v.Int)
		case flow.Bool:
			text = fmt.Sprint(v.Int != 0)
		case flow.Interval:
			text = interval(v.Int)
		case flow.TextList:
			text = strings.Join(v.Texts, " and ")
		case flow.IntervalList:
			var each []string
			for _, n := range v.Ints {
				each = append(each, interval(n))
			}
			text = strings.Join(each, " and ")
		}
		parts = append(parts, name+" "+text)
	}
	return kind.Name + ": " + strings.Join(parts, ", ")
}

// TestFiltersPage checks that the generated parts of the documentation are what
// the code says.
func TestFiltersPage(t *testing.T) {
	page, err := os.ReadFile(filtersPage)
	if err != nil {
		t.Fatal(err)
	}
	want := string(page)
	for name, text := range map[string]string{"attributes": attributesTable(), "flows": flowsTable()} {
		begin := "<!-- generated: " + name + " -->\n"
		before, rest, ok := strings.Cut(want, begin)
		_, after, closed := strings.Cut(rest, "<!-- end -->")
		if !ok || !closed {
			t.Fatalf("docs/filters.md has no place for %s", name)
		}
		want = before + begin + text + "<!-- end -->" + after
	}
	if *update {
		if err := os.WriteFile(filtersPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(page)); diff != "" {
		t.Errorf("docs/filters.md is stale, run go test ./internal/filter -run FiltersPage -update (-want +got):\n%s", diff)
	}
}

// pageRows returns the rows of the documentation's tables that have a head.
func pageRows(t *testing.T, head string) (rows [][]string) {
	t.Helper()
	page, err := os.ReadFile(filtersPage)
	if err != nil {
		t.Fatal(err)
	}
	in := false
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, head):
			in = true
		case !strings.HasPrefix(line, "|"):
			in = false
		case in && !strings.HasPrefix(line, "|-"):
			line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "\x00")
			var cells []string
			for part := range strings.SplitSeq(line, "|") {
				cells = append(cells, strings.Trim(strings.ReplaceAll(part, "\x00", "|"), " "))
			}
			cells[0] = strings.Trim(cells[0], "`")
			rows = append(rows, cells)
		}
	}
	return rows
}

// TestFiltersPageExamples runs the examples of the documentation.
func TestFiltersPageExamples(t *testing.T) {
	db, all, keys := fixedData(t)
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	rows := pageRows(t, "| filter | selects |")
	if len(rows) < 70 {
		t.Errorf("docs/filters.md shows %d examples", len(rows))
	}
	done := make(map[string]bool)
	for _, row := range rows {
		text := row[0]
		done[text] = true
		e, err := filter.Parse(text, options())
		if err != nil {
			t.Errorf("Parse(%q) = %v", text, err)
			continue
		}
		want := strings.Fields(row[1])
		switch row[1] {
		case "all":
			want = names
		case "none":
			want = nil
		}
		if diff := cmp.Diff(want, matching(all, e)); diff != "" {
			t.Errorf("%q selects other flows (-docs/filters.md +evaluator):\n%s", text, diff)
		}
		if diff := onDuckDB(t, db, keys, e, want); diff != "" {
			t.Errorf("%q selects other flows (-docs/filters.md +DuckDB):\n%s", text, diff)
		}
	}
	// What the documentation of IVRE shows is there.
	for _, text := range []string{
		"dst.addr = 192.168.1.1", `addr =~ 192\.168\.1\..*`, "dport > 10000", "!dport <= 10000", "meta.query =~ .*google.*",
		"ANY sports < 1024", "LEN sports = 1", "ANY meta.answers =~ .*example.com", "addr = 192.168.0.0/16",
	} {
		if !done[text] {
			t.Errorf("docs/filters.md does not show %q", text)
		}
	}
}

// TestFiltersPageErrors checks the messages that the documentation shows.
func TestFiltersPageErrors(t *testing.T) {
	rows := pageRows(t, "| refused | message |")
	if len(rows) < 5 {
		t.Fatalf("%d messages", len(rows))
	}
	for _, row := range rows {
		if _, err := filter.Parse(row[0], options()); err == nil || err.Error() != row[1] {
			t.Errorf("Parse(%q) = %v, want %s", row[0], err, row[1])
		}
	}
}

// TestFiltersPageLimits checks that the documentation has the limits.
func TestFiltersPageLimits(t *testing.T) {
	rows := pageRows(t, "| limit | value |")
	for i, want := range []string{"65,536 bytes", "2000", "100", "1000 bytes"} {
		if len(rows) <= i || !strings.HasPrefix(rows[i][1], want) {
			t.Errorf("limit %d of %v, want %s", i, rows, want)
		}
	}
	for i, limit := range []int{filter.MaxLength, filter.MaxClauses, filter.MaxDepth, filter.MaxPattern} {
		text := strings.ReplaceAll(strings.Fields(rows[i][1])[0], ",", "")
		if text != fmt.Sprint(limit) {
			t.Errorf("%s is %d in the code, not %s", rows[i][0], limit, text)
		}
	}
}
