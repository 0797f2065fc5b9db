// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"weir/internal/term"
	"weir/store"
)

// output is where an answer goes, and how it is written.
type output struct {
	w      io.Writer
	format format
	style  style
	line   *waiting
}

// json reports whether the answer is JSON of either form.
func (t *output) json() bool { return t.format == asJSON || t.format == asNDJSON }

// sheet begins a list.
func (t *output) sheet(columns []column) (sheet, error) {
	s, err := newSheet(t.w, t.format, t.style, columns)
	return &counted{s, t.line}, err
}

// object prints a single object of JSON.
func (t *output) object(v any) error { return writeJSON(t.w, v) }

// deliver calls write with where the answer goes: standard output, or the file of
// --output. While it takes long, a terminal shows that it is on its way.
func (o *options) deliver(write func(*output) error) error {
	f, err := o.out.wanted()
	if err != nil {
		return err
	}
	line := o.wait()
	defer line.stop()
	out := output{format: f, line: line, style: style{sep: " | ", cell: listCell(o.zone)}}
	if o.out.separator != "" {
		out.style.sep, out.style.plain = o.out.separator, true
	}
	to := func(w io.Writer) error {
		out.w = line.before(w)
		return write(&out)
	}
	if o.out.file == "" || o.out.file == "-" {
		return to(o.stdout)
	}
	return writeFile(string(o.out.file), to)
}

// ask answers a question, or explains how it would be answered.
func (o *options) ask(ctx context.Context, answer func(context.Context, store.Reader, *output) error) error {
	return o.deliver(func(out *output) error {
		return o.withStore(ctx, func(ctx context.Context, db store.Reader) error {
			if o.list.explain {
				return explain(ctx, db, out, answer)
			}
			return answer(ctx, db, out)
		})
	})
}

// explain prints what a store would run to answer, and runs none of it.
func explain(ctx context.Context, db store.Explainer, out *output, answer func(context.Context, store.Reader, *output) error) error {
	unread := *out
	unread.w, unread.format, unread.line = io.Discard, asText, new(waiting)
	if out.json() {
		// What JSON shows is more than what text shows.
		unread.format = out.format
	}
	list, err := db.Explain(ctx, func(r store.Reader) error { return answer(ctx, r, &unread) })
	if err != nil {
		return err
	}
	if out.format == asText && !out.style.plain {
		return printStatements(out.w, list)
	}
	s, err := out.sheet(named("text", "args"))
	if err != nil {
		return err
	}
	for _, st := range list {
		var args any
		if len(st.Args) > 0 {
			args = st.Args
		}
		if err := s.row([]any{st.Text, args}, st); err != nil {
			return err
		}
	}
	return s.end()
}

// printStatements prints statements, each with its arguments below it.
func printStatements(w io.Writer, list []store.Statement) error {
	var b strings.Builder
	for i, st := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		for line := range strings.SplitSeq(strings.TrimRight(st.Text, "\n"), "\n") {
			fmt.Fprintln(&b, term.Escape(line))
		}
		for _, name := range argNames(st.Args) {
			value, err := encodeJSON(jsonValue(st.Args[name]))
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "  $%s = %s\n", term.Escape(name), value)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// argNames returns the names of arguments in their order: numbers as numbers.
func argNames(args map[string]any) []string {
	return slices.SortedFunc(maps.Keys(args), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}
