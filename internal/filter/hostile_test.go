// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store/storetest"
)

// marker is part of every value that hostile filters have in common: no
// statement may hold it.
const marker = "xMARKERx"

// hostile returns filters of people who mean harm, or whose cat walked over the
// keyboard.
func hostile() map[string]string {
	out := make(map[string]string)
	// Texts that end a string, a statement or a comment, in every position.
	for i, text := range []string{
		"'", `"`, "''", `""`, `\`, `\\'`, "--", "/*", "*/", ";", "; DROP TABLE conn; --", "' OR '1'='1", `" OR ""="`, "') OR TRUE --",
		"$1", "?", "$$", "%s%n", "{}", "`", "\x00", "\x1b[2J", "\u202e", "\u200f\u202d", "\ufeff", "\r\n", "\u2028", "N'x'", "E'\\''",
		"0x27", "%27", "&#39;", "\U0001f600", "e\u0301", "CHAR(39)", "$tag$x$tag$", "SELECT", "NULL", "${jndi:x}", "<script>", "../../etc/passwd",
	} {
		value := marker + text + marker
		for j, format := range []string{
			"service = %s", "service IN (a, %s)", "meta.dns.query != %s", "meta.http(uri = %s AND method)", "ALL meta.dns.answers = %s",
			"NONE sensor = %s",
		} {
			if (i+j)%3 == 0 {
				out[fmt.Sprintf("text %d.%d", i, j)] = fmt.Sprintf(format, storetest.Quote(value))
			}
		}
		out[fmt.Sprintf("bare %d", i)] = "service = " + value
		out[fmt.Sprintf("name %d", i)] = text + "dport = 80"
		out[fmt.Sprintf("kind %d", i)] = "meta." + text + ".query = " + marker
	}
	// Patterns that take a backtracking engine for ever, or much memory.
	for i, text := range []string{
		"(a+)+$", "(a*)*b", "(a|a)*c", "(a|aa)+$", "(.*)*x", `(\w+\s?)*$`, "((a{1,30}){1,30}){1,30}", "a{1000}", "a{1001}", "(a{1000}){1000}",
		"((((((a?){20}){20}){20}){20}){20}){20}", "(x+x+)+y", "(?:.{500}){500}", `\pL{1000}`, `(?i)\pL{1000}`, strings.Repeat("(", 500),
		strings.Repeat("(", 400) + strings.Repeat(")", 400), strings.Repeat("a?", 400) + strings.Repeat("a", 200), strings.Repeat("(a|", 300),
		strings.Repeat("[", 900), strings.Repeat("[[:", 300), strings.Repeat("[^]", 300), strings.Repeat(`\`, 999), `\Q` + strings.Repeat("(", 900),
		strings.Repeat("x*", 500), strings.Repeat(".*", 499), "(?=a)", "(?<!a)b", `\1`, `(a)\1`, `\C`, "(?P<n>a)(?P<n>b)", "(?R)", "a**", "a{2}{3}",
		`\x{10FFFF}`, `\x{110000}`, `\p{NoSuch}`, `[z-a]`, "\x00", "\u202e.*", "(?s).*" + strings.Repeat("a|", 400), "a{0,1000}", "a{,5}", "a{5,1}",
	} {
		out[fmt.Sprintf("pattern %d", i)] = "meta.dns.query =~ " + storetest.Quote(text)
		out[fmt.Sprintf("bare pattern %d", i)] = "service !~ " + text
	}
	// Length, depth and number.
	for name, text := range map[string]string{
		"nested 1,000 deep":        strings.Repeat("(", 1000) + "dport" + strings.Repeat(")", 1000),
		"open 1,000 times":         strings.Repeat("(", 1000),
		"closed 1,000 times":       "dport" + strings.Repeat(")", 1000),
		"negated 1,000 times":      strings.Repeat("!", 1000) + "dport",
		"negated blocks":           strings.Repeat("!meta.dns(", 1000) + "aa" + strings.Repeat(")", 1000),
		"NOT 1,000 times":          strings.Repeat("NOT ", 1000) + "dport",
		"100 kB of a":              "service = " + strings.Repeat("a", 100_000),
		"100 kB of spaces":         strings.Repeat(" ", 100_000) + "dport",
		"100 kB of clauses":        strings.Repeat("dport = 80 OR ", 7000) + "dport",
		"60 kB value":              "service = " + strings.Repeat("a ", 30_000) + "b",
		"60 kB number":             "dport = " + strings.Repeat("9", 60_000),
		"60 kB size":               "csbytes > " + strings.Repeat("9", 60_000) + "k",
		"60 kB time":               "firstseen > " + strings.Repeat("2020-01-01 ", 5000),
		"60 kB duration":           "duration > " + strings.Repeat("1h", 30_000),
		"60 kB address":            "addr = " + strings.Repeat("1:", 30_000),
		"60 kB network":            "addr = ::/" + strings.Repeat("1", 60_000),
		"60 kB bool":               "meta.dns.aa = " + strings.Repeat("t", 60_000),
		"60 kB name":               strings.Repeat("d", 60_000) + " = 80",
		"60 kB label":              "#" + strings.Repeat("d", 60_000),
		"60 kB of dots":            "meta" + strings.Repeat(".", 60_000),
		"60 kB of attributes":      "service = " + strings.Repeat("meta.http.user_agent ", 2800),
		"60 kB of almost clauses":  "service = " + strings.Repeat("!-~!-~ dport ", 4500),
		"60 kB of parentheses":     "service = " + strings.Repeat("()", 30_000),
		"60 kB of open ones":       "service = " + strings.Repeat("(", 60_000),
		"60 kB of classes":         "service =~ " + strings.Repeat("[[:", 20_000),
		"60 kB of brackets":        "service =~ " + strings.Repeat("[]", 30_000),
		"60 kB of backslashes":     `service = "` + strings.Repeat(`\\`, 30_000) + `"`,
		"60 kB of keywords":        strings.Repeat("AND OR NOT ", 5000),
		"60 kB of operators":       "dport " + strings.Repeat("=~!", 20_000),
		"60 kB of commas":          "dport IN (" + strings.Repeat(",", 60_000) + ")",
		"30,000 values":            "dport IN (" + strings.Repeat("1,", 30_000) + "1)",
		"1,900 patterns":           strings.Repeat("service =~ .*a.* OR ", 1900) + "dport",
		"1,900 questions on intel": strings.Repeat("LEN meta.dns.query = 1 OR ", 1900) + "dport",
		"15,000 negated classes":   strings.Repeat("service =~ "+strings.Repeat("[^a]", 240)+" OR ", 60) + "dport",
		"6,000 wide classes":       strings.Repeat("service =~ (?i)"+strings.Repeat(`[b-\x{1e942}]`, 70)+" OR ", 60) + "dport",
		"1,900 pairs with intel":   strings.Repeat("sports > meta.dns.qtype OR ", 1900) + "dport",
		"1,900 pairs":              strings.Repeat("csbytes > scbytes OR ", 1900) + "dport",
		"junction pyramid":         strings.Repeat("(dport OR ", 99) + "type" + strings.Repeat(" AND sports)", 99),
		"not UTF-8":                "service = \xff\xfe",
		"cut UTF-8":                "service = gr\xc3",
		"not UTF-8 in a name":      "dp\xffort = 80",
		"overlong UTF-8":           "service = \xc0\xa7 OR 1=1",
		"surrogate":                "service = \xed\xa0\x80",
		"NUL":                      "dport\x00 = 80",
		"NUL value":                "service = a\x00b",
		"only a quote":             "'",
		"open quote":               "service = '",
		"RTL name":                 "\u202edport = 80",
		"smart quotes":             "service = \u201chttp\u201d",
		"no-break space":           "dport\u00a0= 80",
		"full-width":               "\uff44port = 80",
		"zone":                     "addr = fe80::1%" + strings.Repeat("e", 5000),
		"far times":                "firstseen > -99999999999999w",
		"negative":                 "csbytes > -1",
		"overflow":                 "csbytes > 9223372036854775808",
		"float":                    "dport = 1e3",
		"infinity":                 "duration > Inf",
	} {
		out[name] = text
	}
	return out
}

// TestHostileFilters checks that no filter takes long, that what is wrong is said
// in few words, and that no statement ever holds a value.
func TestHostileFilters(t *testing.T) {
	db, all, keys := fixedData(t)
	list := hostile()
	if len(list) < 200 {
		t.Fatalf("only %d filters", len(list))
	}
	names := make([]string, 0, len(list))
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	const limit = 10 * time.Second // far more than it takes, also with the race detector
	parsed, ran := 0, 0
	for _, name := range names {
		text := list[name]
		if testing.Short() && (name == "6,000 wide classes" || name == "1,900 patterns") {
			continue // a second each
		}
		start := time.Now()
		e, err := filter.Parse(text, options())
		if took := time.Since(start); took > limit {
			t.Errorf("%s: Parse took %v", name, took)
		}
		if err != nil {
			checkMessage(t, name, text, err)
			continue
		}
		parsed++
		printed := e.String()
		if again, err := filter.Parse(printed, options()); err != nil || again.String() != printed {
			t.Errorf("%s: Parse(%.300q) = %v, %v, want the same", name, printed, again, err)
		}
		q, err := e.SQL(filter.SQLOptions{Conn: "c", Flow: "f"})
		if took := time.Since(start); took > limit {
			t.Errorf("%s: SQL took %v", name, took)
		}
		if unsupported := new(filter.UnsupportedError); errors.As(err, &unsupported) && len(err.Error()) < 600 {
			continue
		}
		if err != nil {
			t.Errorf("%s: SQL: %.600v", name, err)
			continue
		}
		if statement := q.Rows.Text + q.Groups.Text; strings.Contains(statement, marker) || !plain(statement) {
			t.Errorf("%s: the statement holds the value: %.300s", name, statement)
		}
		ran++
		want := matching(all, e)
		start = time.Now()
		if diff := onDuckDB(t, db, keys, e, want); diff != "" {
			t.Errorf("%s: %.100q (-evaluator +DuckDB): %.600s", name, text, diff)
		}
		if took := time.Since(start); took > 2*limit {
			t.Errorf("%s: DuckDB took %v", name, took)
		}
	}
	t.Logf("%d filters, %d are read, %d run", len(list), parsed, ran)
	if parsed < 100 || len(list)-parsed < 100 {
		t.Errorf("of %d filters %d are read", len(list), parsed)
	}
}

// checkMessage checks that an error says where it is and is short and printable.
func checkMessage(t *testing.T, name, text string, err error) {
	t.Helper()
	serr := new(filter.SyntaxError)
	if !errors.As(err, &serr) || serr.Offset < 0 || serr.Offset > len(text) {
		t.Errorf("%s: Parse = %v, want a SyntaxError inside the text", name, err)
		return
	}
	msg := err.Error()
	if !strings.HasPrefix(msg, fmt.Sprintf("offset %d: ", serr.Offset)) || len(msg) > 500 || !plain(msg) {
		t.Errorf("%s: the message is %d bytes long: %.500q", name, len(msg), msg)
	}
}

// plain reports whether a text can be shown as it is.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x200e && r <= 0x202e && r != 0x2026 || r == 0xfeff
	})
}

// TestSQLHoldsNoValues checks that values never become a part of the statement,
// of whatever type and wherever they stand.
func TestSQLHoldsNoValues(t *testing.T) {
	checkHoldsNoValues(t, func(e *filter.Expr) (string, int, error) {
		q, err := e.SQL(filter.SQLOptions{})
		if err != nil {
			return "", 0, err
		}
		return q.Rows.Text + q.Groups.Text, len(q.Args()), nil
	})
}

// checkHoldsNoValues translates filters and checks that values are not in the
// statements, which translate returns with the number of parameters.
func checkHoldsNoValues(t *testing.T, translate func(e *filter.Expr) (statement string, params int, err error)) {
	t.Helper()
	type example struct{ value, shown string }
	values := map[filter.Type][]example{
		filter.Text:     {{storetest.Quote(marker), marker}},
		filter.Address:  {{"203.0.113.77", "203.0.113.77"}, {"203.0.113.0/24", "203.0.113"}, {"2001:db8:7777::/48", "7777"}},
		filter.Number:   {{"237", "237"}},
		filter.Size:     {{"98765432", "98765432"}},
		filter.Time:     {{"1234567890.654321", "1234567890"}},
		filter.Duration: {{"98765.4321", "98765"}},
		filter.Bool:     {{"true", ""}},
	}
	n := 0
	check := func(text, shown string, args int) {
		statement, params, err := translate(parse(t, text))
		if err != nil {
			t.Errorf("translation of %q: %v", text, err)
			return
		}
		n++
		if shown != "" && strings.Contains(statement, shown) {
			t.Errorf("the translation of %q holds the value: %s", text, statement)
		}
		if params < args {
			t.Errorf("the translation of %q has %d parameters", text, params)
		}
	}
	for _, a := range filter.Attributes() {
		if storetest.Place("lake", &a) == "" {
			continue
		}
		for _, quant := range []string{"", "ANY ", "ALL ", "ONE ", "NONE "} {
			for _, op := range a.Operators {
				examples := values[a.Type]
				if strings.Contains(op, "~") {
					examples = []example{{marker + ".*", marker}}
				}
				for _, x := range examples {
					if strings.Contains(x.value, "/") && strings.ContainsAny(op, "<>") || a.Name == "codes" || a.Name == "type" {
						continue
					}
					value := x.value
					if op == "IN" {
						value = "(" + value + ")"
					}
					check(quant+a.Name+" "+op+" "+value, x.shown, 1)
					check("!("+a.Name+" "+op+" "+value+" OR "+quant+a.Name+" "+op+" "+value+")", x.shown, 1)
					if storetest.Place("lake", &a) == "meta" {
						dot := strings.LastIndex(a.Name, ".")
						check(fmt.Sprintf("%s(%s%s %s %s)", a.Name[:dot], quant, a.Name[dot+1:], op, value), x.shown, 1)
					}
				}
			}
		}
		check("LEN "+a.Name+" > 98765432", "98765432", 1)
	}
	if n < 4000 {
		t.Errorf("only %d filters", n)
	}
}

// TestHostileValues checks that strange texts are found where they are.
func TestHostileValues(t *testing.T) {
	texts := []string{"a\x00b", "\u202eevil", "x' OR '1'='1", "a\nb", `\`, "\ufeff", "é", "e\u0301"}
	d := new(storetest.Data)
	for i, text := range texts {
		if i == 0 { // DuckDB's text has no way to write it
			continue
		}
		c := storetest.Conn{Sensor: "s" + fmt.Sprint(i)}
		c.Src, c.Dst, c.Proto, c.Dport, c.Sport = addr("10.0.0.1"), addr("10.0.0.2"), flow.TCP, uint16(i), 1
		c.Service, c.Count, c.End = text, 1, flow.EndDetected
		d.Conns = append(d.Conns, c)
	}
	db := openDuckDB(t)
	load(t, db, d)
	all := byKey(d.Flows())
	for _, text := range texts {
		for _, op := range []string{"=", "!=", "=~", ">="} {
			value := storetest.Quote(text)
			if op == "=~" {
				value = storetest.Quote(`\Q` + text + `\E`)
			}
			e := parse(t, "service "+op+" "+value)
			got, err := selected(t, db, e)
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			if diff := cmp.Diff(matching(all, e), got); diff != "" {
				t.Errorf("%s (-evaluator +DuckDB): %s", e, diff)
			}
		}
	}
}
