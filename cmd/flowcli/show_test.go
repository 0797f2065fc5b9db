// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/store"
)

// manyIntel is a store of one flow, with many records of DNS and then one of SSL.
type manyIntel struct {
	store.Reader
	records int
	asked   int
}

func (m *manyIntel) Flows(_ context.Context, q store.Query) iter.Seq2[*store.Flow, error] {
	m.asked = q.Intel
	return func(yield func(*store.Flow, error) bool) {
		f := &store.Flow{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Proto: "udp"}
		for i := range m.records {
			in := store.Intel{Kind: "dns", Count: 1, Attrs: map[string]any{"query": fmt.Sprint("name", i)}}
			if i == m.records-1 {
				in = store.Intel{Kind: "ssl", Count: 1, Attrs: map[string]any{"server_name": "last"}}
			}
			if q.Intel != store.All && i >= q.Intel {
				f.MoreIntel++
				continue
			}
			f.Intel = append(f.Intel, in)
		}
		yield(f, nil)
	}
}

func (m *manyIntel) Status(context.Context) (*store.Status, error) {
	return &store.Status{Precision: 3600}, nil
}

// TestShowMuchIntel shows a flow with more intel than is read at once.
func TestShowMuchIntel(t *testing.T) {
	const records = showIntel + 5
	for _, tc := range []struct {
		name  string
		limit int
		asked int
		want  []string
	}{
		{"few", 20, showIntel, []string{"dns: 10,000, 9,980 of them not shown", "5 more records are of the last of these kinds, or of others; --all reads them"}},
		{"many", showIntel + 1, showIntel + 1, []string{"dns: 10,001\n", "4 more records are"}},
		{"all", store.All, store.All, []string{"dns: 10,004\n", "ssl: 1\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := &manyIntel{records: records}
			s, err := parseSubject([]string{"10.0.0.1", "udp/53", "10.0.0.2"})
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			w := bufio.NewWriter(&b)
			o := &options{zone: time.UTC}
			if err := o.showFlow(t.Context(), db, w, s, &showOptions{limit: tc.limit}); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			if db.asked != tc.asked {
				t.Errorf("asked for %d records, want %d", db.asked, tc.asked)
			}
			for _, want := range tc.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("%q is missing", want)
				}
			}
			if tc.limit == store.All && strings.Contains(b.String(), "more records") {
				t.Error("records are missing though all were read")
			}
		})
	}
}
