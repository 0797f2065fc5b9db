// SPDX-License-Identifier: Apache-2.0

// Package storetest is the suite that every driver of a store must pass: it
// fills a store with data, asks it, and compares each answer with what follows
// from the data in a few obvious lines.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/filter"
	"weir/store"
)

// Driver is a driver of a store.
type Driver struct {
	// Name is that of the store in filter.Attribute.Stores.
	Name string
	// Fill returns a store that holds the data and nothing else. It, and what it
	// needs, ends with the test. A store that Fill returned before may lose its
	// content.
	Fill func(tb testing.TB, d *Data) store.Reader
	// Filters is how many random filters are compared with the evaluator, Seed makes
	// the first of them and their data; 0 is a random one. WEIR_SEED takes its
	// place.
	Filters int
	Seed    uint64
	// Raw are queries in the store's own language.
	Raw RawQueries
}

// RawQueries are queries in a store's own language.
type RawQueries struct {
	// Flows returns one integer, the number of flows.
	Flows string
	// Refused are queries that would change something, or make no sense.
	Refused []string
	// Endless takes longer than any test.
	Endless string
}

// promptly is how long a query may take to end when it is canceled.
const promptly = 10 * time.Second

// Run runs the suite on a driver.
func Run(t *testing.T, d Driver) {
	t.Helper()
	for _, set := range []struct {
		name string
		data *Data
	}{{"empty", new(Data)}, {"fixed", Fixed()}, {"strange", Strange()}, {"random", Random(3)}} {
		t.Run(set.name, func(t *testing.T) {
			r := d.Fill(t, set.data)
			defer closeReader(t, r)
			if set.name == "strange" {
				Check(t.Context(), r, d.Name, set.data, t.Errorf)
				return
			}
			c := newChecker(t.Context(), r, d.Name, set.data, t.Errorf)
			c.pages()
			c.groups()
			c.questions()
			c.status(set.data)
		})
	}
	t.Run("examples", func(t *testing.T) { d.examples(t) })
	t.Run("errors", func(t *testing.T) { d.errors(t) })
	t.Run("explain", func(t *testing.T) { d.explain(t) })
	t.Run("raw", func(t *testing.T) { d.raw(t) })
	t.Run("cancel", func(t *testing.T) { d.cancel(t) })
	t.Run("concurrent", func(t *testing.T) { d.concurrent(t) })
	t.Run("close", func(t *testing.T) { d.close(t) })
	t.Run("filters", func(t *testing.T) { d.filters(t) })
}

func closeReader(t *testing.T, r store.Reader) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

// examples checks the filters that people wrote for IVRE, if they are there, and
// those of the documentation.
func (d Driver) examples(t *testing.T) {
	data := Fixed()
	r := d.Fill(t, data)
	defer closeReader(t, r)
	c := newChecker(t.Context(), r, d.Name, data, t.Errorf)
	texts := []string{
		"dst.addr = 192.168.1.1", `addr =~ 192\.168\.1\..*`, "dport > 10000", "!dport <= 10000", "meta.query =~ .*google.*",
		"ANY sports < 1024", "LEN sports = 1", "ANY meta.answers =~ .*example.com", "addr = 192.168.0.0/16",
	}
	const name = "../../../shared/ivre/filters.txt"
	list, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		if parts := strings.Split(strings.TrimRight(line, "\n"), "\t"); parts[0] == "parse" {
			texts = append(texts, parts[1])
		}
	}
	for _, text := range texts {
		e := parse(text)
		if d.refuses(e) {
			continue
		}
		c.checkList(store.Query{Filter: e})
		c.checkCounts(store.Query{Filter: e})
	}
}

// elsewhere returns the attributes that the store does not keep, though flows have
// them.
func (d Driver) elsewhere() []filter.Attribute {
	return slices.DeleteFunc(filter.Attributes(), func(a filter.Attribute) bool {
		nowhere := len(a.Stores) == 0 && strings.HasPrefix(a.Name, "meta.") // it has no values
		return nowhere || slices.Contains(a.Stores, d.Name)
	})
}

// refuses reports whether a filter names what the store does not keep.
func (d Driver) refuses(e *filter.Expr) bool {
	return slices.ContainsFunc(d.elsewhere(), func(a filter.Attribute) bool { return strings.Contains(e.String(), a.Name) })
}

// errors checks what is refused.
func (d Driver) errors(t *testing.T) {
	data := Fixed()
	r := d.Fill(t, data)
	defer closeReader(t, r)
	m := newModel(d.Name, nil)
	all := m.known(func(*filter.Attribute) bool { return true })
	scalars := m.known(func(a *filter.Attribute) bool { return !a.Set })
	sizes := m.known(func(a *filter.Attribute) bool { return !a.Set && a.Type == filter.Size })
	list := func(q store.Query) error { _, err := collect(r.Flows(t.Context(), q)); return err }
	top := func(q store.TopQuery) error { _, err := r.Top(t.Context(), q); return err }
	proto := []string{"proto"}
	for _, name := range []string{
		"", "nonsense", "flow ", "sports", "addr", "service", "meta.dns.query", "meta.dns.count", "meta.arp.op", "meta.query", "uid", "src.addr; --",
	} {
		for _, tc := range []struct {
			err   error
			use   string
			known []string
		}{
			{list(store.Query{OrderBy: []store.Order{{Attr: "src"}, {Attr: name}}}), "order by", append([]string{"flow"}, scalars...)},
			{top(store.TopQuery{Fields: proto, Sum: []string{"csbytes", name}}), "sum", sizes},
			{top(store.TopQuery{Fields: []string{"proto", name}}), "group by", all},
			{top(store.TopQuery{Fields: proto, Collect: []string{name}}), "collect", all},
		} {
			if m.find(name) != nil && (tc.use == "group by" || tc.use == "collect") {
				if tc.err != nil {
					t.Errorf("%s %q: %v", tc.use, name, tc.err)
				}
				continue
			}
			err, ok := errors.AsType[*store.AttributeError](tc.err)
			if !ok {
				t.Errorf("%s %q: %v, want an AttributeError", tc.use, name, tc.err)
				continue
			}
			if diff := difference(&store.AttributeError{Name: name, Use: tc.use, Known: tc.known}, err); diff != "" {
				t.Errorf("%s %q (-want +got):\n%s", tc.use, name, diff)
			}
		}
	}
	for _, name := range []string{"proto", "dport", "src", "firstseen", "duration"} {
		if err, ok := errors.AsType[*store.AttributeError](top(store.TopQuery{Fields: proto, Sum: []string{name}})); !ok || err.Use != "sum" {
			t.Errorf("sum %q: %v, want an AttributeError", name, err)
		}
	}
	if err, ok := errors.AsType[*store.AttributeError](top(store.TopQuery{})); !ok || err.Use != "group by" {
		t.Errorf("Top() of no attribute: %v, want an AttributeError", err)
	}
	for _, a := range d.elsewhere() {
		e := parse(a.Name)
		_, counts := r.Counts(t.Context(), store.Query{Filter: e})
		errs := []error{counts, list(store.Query{Filter: e}), top(store.TopQuery{Query: store.Query{Filter: e}, Fields: proto})}
		for i, err := range append(errs, askAll(t.Context(), r, e)[:3]...) {
			if _, ok := errors.AsType[*filter.UnsupportedError](err); !ok || !strings.Contains(err.Error(), a.Name) {
				t.Errorf("question %d with %q: %v, want an UnsupportedError", i, a.Name, err)
			}
		}
	}
	d.newErrors(t, r, m)
	newChecker(t.Context(), r, d.Name, data, t.Errorf).alive()
}

// raw checks queries in the store's own language.
func (d Driver) raw(t *testing.T) {
	data := Random(5)
	r := d.Fill(t, data)
	defer closeReader(t, r)
	flows := func() (n int64, err error) {
		rows, err := r.Raw(t.Context(), d.Raw.Flows)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		if len(rows.Columns()) != 1 {
			return 0, fmt.Errorf("the columns are %v", rows.Columns())
		}
		for row, err := range rows.All() {
			if err != nil {
				return 0, err
			}
			n, _ = row[0].(int64)
		}
		return n, nil
	}
	for _, text := range d.Raw.Refused {
		rows, err := r.Raw(t.Context(), text)
		if err == nil {
			for _, e := range rows.All() {
				err = errors.Join(err, e)
			}
			err = errors.Join(err, rows.Close())
		}
		if _, ok := errors.AsType[*store.QueryError](err); !ok {
			t.Errorf("Raw(%q) = %v, want a QueryError", text, err)
		}
	}
	want := int64(len(data.Flows()))
	if n, err := flows(); err != nil || n != want {
		t.Errorf("Raw(%q) = %d, %v, want %d", d.Raw.Flows, n, err, want)
	}
}

// cancel checks that questions end soon when nobody wants to know any more.
func (d Driver) cancel(t *testing.T) {
	data := Random(6)
	r := d.Fill(t, data)
	defer closeReader(t, r)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	_, listErr := collect(r.Flows(ended, store.Query{}))
	_, countsErr := r.Counts(ended, store.Query{})
	_, topErr := r.Top(ended, store.TopQuery{Fields: []string{"dport"}})
	for i, err := range append(askAll(ended, r, nil), listErr, countsErr, topErr) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("question %d after the end: %v, want %v", i, err, context.Canceled)
		}
	}
	// What is left unread holds nothing up.
	for range 30 {
		for _, err := range r.Flows(t.Context(), store.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	stopped(t, "Flows", start, func(ctx context.Context) iter.Seq2[*store.Flow, error] { return r.Flows(ctx, store.Query{}) })
	stopped(t, "Pairs", time.Now(), func(ctx context.Context) iter.Seq2[*store.Pair, error] {
		return r.Pairs(ctx, store.PairQuery{Services: true, Query: store.Query{Times: true}})
	})
	stopped(t, "Fields", time.Now(), func(ctx context.Context) iter.Seq2[[]any, error] {
		return r.Fields(ctx, store.Query{}, []string{"proto", "times.start"})
	})
	d.endless(t, r)
	newChecker(t.Context(), r, d.Name, data, t.Errorf).alive()
}

// stopped checks that what is listed ends soon, and with no other error, when the first element
// was the last that anybody wanted.
func stopped[T any](t *testing.T, name string, start time.Time, list func(context.Context) iter.Seq2[T, error]) {
	t.Helper()
	for _, err := range list(t.Context()) {
		if err != nil {
			t.Errorf("%s(): %v", name, err)
		}
		break
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	n := 0
	for _, err := range list(ctx) {
		if n++; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s() that was canceled: %v", name, err)
		}
		stop()
	}
	if took := time.Since(start); took > promptly || n == 0 {
		t.Errorf("after %d elements of %s() it took %v to end", n, name, took)
	}
}

// endless cancels a query that is at work.
func (d Driver) endless(t *testing.T, r store.Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	rows, err := r.Raw(ctx, d.Raw.Endless)
	if err == nil {
		for _, e := range rows.All() {
			err = e
		}
		err = errors.Join(err, rows.Close())
	}
	if took := time.Since(start); err == nil || took > promptly {
		t.Errorf("Raw(%q) ended after %v: %v", d.Raw.Endless, took, err)
	}
}

// concurrent asks from many goroutines at once.
func (d Driver) concurrent(t *testing.T) {
	data := Random(8)
	r := d.Fill(t, data)
	defer closeReader(t, r)
	g := NewFilters(8, d.Name, data.Flows())
	var texts []string
	for range 40 {
		texts = append(texts, g.Next())
	}
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			c := newChecker(t.Context(), r, d.Name, data, t.Errorf)
			for j, text := range texts {
				q := store.Query{Filter: parse(text)}
				switch (i + j) % 3 {
				case 0:
					c.checkList(q)
				case 1:
					c.checkCounts(q)
				case 2:
					c.checkTop(store.TopQuery{Query: q, Fields: []string{"dport"}})
				}
			}
		})
	}
	wait.Wait()
}

// close checks that a closed store answers nothing.
func (d Driver) close(t *testing.T) {
	r := d.Fill(t, Fixed())
	closeReader(t, r)
	_, listErr := collect(r.Flows(t.Context(), store.Query{}))
	_, countsErr := r.Counts(t.Context(), store.Query{})
	_, topErr := r.Top(t.Context(), store.TopQuery{Fields: []string{"dport"}})
	for i, err := range append(askAll(t.Context(), r, nil), listErr, countsErr, topErr) {
		if err == nil {
			t.Errorf("question %d to a closed store has an answer", i)
		}
	}
	closeReader(t, r)
}
