// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/internal/filter"
	"weir/store"
)

// explain checks that a store says what it would do, and does not do it.
func (d Driver) explain(t *testing.T) {
	data := Fixed()
	r := d.Fill(t, data)
	defer closeReader(t, r)
	c := newChecker(t.Context(), r, d.Name, data, t.Errorf)
	c.explains()
	failure := errors.New("of the caller")
	if _, err := r.Explain(t.Context(), func(store.Reader) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("Explain() = %v, want %v", err, failure)
	}
	_, err := r.Explain(t.Context(), func(r store.Reader) error {
		_, err := r.Top(t.Context(), store.TopQuery{Fields: []string{"nonsense"}})
		return err
	})
	if _, ok := errors.AsType[*store.AttributeError](err); !ok {
		t.Errorf("Explain() of nonsense = %v, want an AttributeError", err)
	}
	c.alive()
}

// explains checks what is said of each question.
func (c *checker) explains() {
	if c.ctx.Err() != nil {
		return
	}
	const text = `dport > 48 AND (service = "x'zq\"31" OR meta.dns.query =~ ".*zq32.*" OR csbytes > 7919104733 OR addr = 10.34.35.36 OR proto = tcp)`
	q := store.Query{Filter: parse(text), Limit: 5}
	for name, ask := range map[string]func(r store.Reader) (int, error){
		"Flows":  func(r store.Reader) (int, error) { list, err := collect(r.Flows(c.ctx, q)); return len(list), err },
		"Counts": func(r store.Reader) (int, error) { n, err := r.Counts(c.ctx, q); return int(n.Flows), err },
		"Top": func(r store.Reader) (int, error) {
			rows, err := r.Top(c.ctx, store.TopQuery{Query: q, Fields: []string{"dport"}})
			return len(rows), err
		},
		"Fields": func(r store.Reader) (int, error) {
			rows, err := collect(r.Fields(c.ctx, q, []string{"proto", "sports"}))
			return len(rows), err
		},
		"Pairs": func(r store.Reader) (int, error) {
			list, err := collect(r.Pairs(c.ctx, store.PairQuery{Query: q}))
			return len(list), err
		},
		"Timeline": func(r store.Reader) (int, error) {
			slots, err := r.Timeline(c.ctx, store.TimelineQuery{Filter: q.Filter, Step: 2 * time.Hour})
			return len(slots), err
		},
		"Hosts": func(r store.Reader) (int, error) {
			hosts, err := r.Hosts(c.ctx, store.HostQuery{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Intel: store.All})
			return len(hosts), err
		},
	} {
		answers := 0
		statements, err := c.reader.Explain(c.ctx, func(r store.Reader) (err error) {
			answers, err = ask(r)
			return err
		})
		if err != nil || answers != 0 || len(statements) == 0 {
			c.report("Explain(%s): %d statements, %d answers, %v", name, len(statements), answers, err)
			continue
		}
		args := ""
		for _, s := range statements {
			if strings.TrimSpace(s.Text) == "" {
				c.report("Explain(%s): a statement without text", name)
			}
			for _, value := range []string{"zq", "7919104733", "10.34.35.36"} {
				if strings.Contains(s.Text, value) {
					c.report("Explain(%s): %q is in the text: %s", name, value, s.Text)
				}
			}
			args += fmt.Sprint(s.Args)
		}
		if name != "Hosts" && !strings.Contains(args, "7919104733") {
			c.report("Explain(%s): the arguments are %s", name, args)
		}
	}
}

// newErrors checks what the new questions refuse.
func (d Driver) newErrors(t *testing.T, r store.Reader, m *model) {
	t.Helper()
	all := m.known(func(*filter.Attribute) bool { return true })
	for _, name := range []string{"", "nonsense", "flow", "meta.dns.count", "meta.arp.op", "uid", "src.addr; --"} {
		_, fields := collect(r.Fields(t.Context(), store.Query{}, []string{"proto", name}))
		_, timeline := r.Timeline(t.Context(), store.TimelineQuery{By: []string{"proto", name}})
		for use, err := range map[string]error{"show": fields, "group by": timeline} {
			got, _ := errors.AsType[*store.AttributeError](err)
			if diff := difference(&store.AttributeError{Name: name, Use: use, Known: all}, got); diff != "" {
				t.Errorf("%s %q: %v (-want +got):\n%s", use, name, err, diff)
			}
		}
	}
	if _, err := collect(r.Fields(t.Context(), store.Query{}, nil)); !isAttributeError(err) {
		t.Errorf("Fields() of no attribute: %v, want an AttributeError", err)
	}
	for _, name := range []string{"", "proto", "sports", "flow", "services", "duration", "addr", "meta.dns.query"} {
		_, err := collect(r.Pairs(t.Context(), store.PairQuery{Query: store.Query{OrderBy: []store.Order{{Attr: "src"}, {Attr: name}}}}))
		if !isAttributeError(err) {
			t.Errorf("Pairs() by %q: %v, want an AttributeError", name, err)
		}
	}
	for _, step := range []time.Duration{1, time.Minute, 90 * time.Minute, -time.Hour} {
		if _, err := r.Timeline(t.Context(), store.TimelineQuery{Step: step}); !errors.Is(err, store.ErrPrecision) {
			t.Errorf("Timeline() by %v: %v, want %v", step, err, store.ErrPrecision)
		}
	}
}

func isAttributeError(err error) bool {
	_, ok := errors.AsType[*store.AttributeError](err)
	return ok
}
