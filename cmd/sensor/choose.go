// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"weir/capture"
	"weir/store/lake"
)

// distinct leaves out captures with the same content as another one.
func (r *reading) distinct(names []string) ([]string, error) {
	same, err := capture.Duplicates(names)
	if err != nil {
		return nil, err
	}
	var out []string
	for i, name := range names {
		first, again := same[i]
		if !again {
			out = append(out, name)
			continue
		}
		fmt.Fprintf(r.stderr, "sensor: %s: skipped, it has the same content as %s\n", name, names[first])
	}
	return out, nil
}

// pass is captures that are read as one stream, and the stores that get the result.
type pass struct {
	names   []string
	targets []*target
}

// plan says what is to be read for which stores: each of them is without those
// captures that it has already. Stores that lack the same ones share a pass.
func (r *reading) plan(ctx context.Context, targets []*target, names []string) ([]pass, error) {
	if len(targets) == 0 {
		return []pass{{names: names}}, nil
	}
	var passes []pass
	for _, t := range targets {
		unread, err := r.unread(ctx, t, names)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(passes, func(p pass) bool { return slices.Equal(p.names, unread) })
		switch {
		case len(unread) == 0:
		case i >= 0:
			passes[i].targets = append(passes[i].targets, t)
		default:
			passes = append(passes, pass{unread, []*target{t}})
		}
	}
	if len(passes) < 2 {
		return passes, nil
	}
	if r.o.zeekLogs != "" {
		return nil, errors.New("the stores lack different ones of these captures, so that they are read twice: write Zeek's logs in a run with --store none")
	}
	for _, name := range names {
		if !hasIdentity(name) {
			return nil, fmt.Errorf("the stores lack different ones of these captures, but %s can be read only once: name it alone", name)
		}
	}
	return passes, nil
}

// unread leaves out the captures that a store has already.
func (r *reading) unread(ctx context.Context, t *target, names []string) ([]string, error) {
	if t.database != nil && r.o.init {
		return names, nil // it is emptied before they are read
	}
	m, err := t.manifest(ctx)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return names, nil
	}
	if r.o.init {
		// The old content goes in the commit that brings the new.
		for i := range m.Imports {
			t.replace = append(t.replace, m.Imports[i].ID)
		}
		return names, nil
	}
	return r.choose(t, m, names)
}

// choose compares the captures with the imports of a store.
func (r *reading) choose(t *target, m *lake.Manifest, names []string) ([]string, error) {
	inputs := make([]lake.Input, len(names))
	for i, name := range names {
		if !hasIdentity(name) {
			inputs[i].Name = name
			continue
		}
		in, err := identify(m, name)
		if err != nil {
			return nil, err
		}
		inputs[i] = in
	}
	verdicts, err := m.Check(inputs, r.o.fingerprint(), func(i int, n int64) (string, error) {
		return prefixSum(names[i], inputs[i], n)
	})
	if err != nil {
		return nil, err
	}
	var unread []string
	replaced := map[string][]string{} // names that are read again, by import
	for i, v := range verdicts {
		switch {
		case v.Knowledge == lake.New:
			unread = append(unread, names[i])
		case r.o.replace:
			unread = append(unread, names[i])
			replaced[v.Import.ID] = append(replaced[v.Import.ID], v.Name)
		case v.Knowledge == lake.Known && !v.Import.Damaged:
			fmt.Fprintf(r.stderr, "sensor: %s: skipped, it is in %s already (read %s as %s)\n",
				names[i], t.what, v.Import.Time.Local().Format(time.DateTime), v.Name)
		default:
			return nil, t.refuse(names[i], &v, r.o.fingerprint())
		}
	}
	for id, again := range replaced {
		for _, in := range m.Find(id).Inputs {
			if !slices.Contains(again, in.Name) {
				return nil, fmt.Errorf("%s was read together with %s: to replace it, name both", again[0], in.Name)
			}
		}
		t.replace = append(t.replace, id)
	}
	slices.Sort(t.replace)
	return unread, nil
}

// refuse says why a capture can neither be read nor skipped, and what to do.
func (t *target) refuse(name string, v *lake.Verdict, options string) error {
	remedy := func(text string) string {
		if t.database != nil {
			return "a database cannot take it apart again; --init empties it, or name another one"
		}
		return text
	}
	switch v.Knowledge {
	case lake.Known:
		return fmt.Errorf("%s is in %s already, but damaged parts of it were dropped: %s", name, t.what, remedy("--replace reads it again"))
	case lake.Differs:
		return fmt.Errorf("%s is in %s already, read with other options (%s; now: %s): %s",
			name, t.what, v.Import.Options, options, remedy("--replace puts the new result in its place"))
	case lake.New, lake.Grown:
	}
	return fmt.Errorf("%s begins with what is in %s already as %s, it has grown: %s",
		name, t.what, v.Name, remedy("--replace reads it whole and puts it in place of the old result"))
}

// hasIdentity reports whether an input can be read again, so that it is known by
// its content; what comes through a pipe is not.
func hasIdentity(name string) bool {
	if name == "-" {
		return false
	}
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// identify returns what the store needs to tell whether it knows a capture. The
// whole file is read only if its beginning is known.
func identify(m *lake.Manifest, name string) (lake.Input, error) {
	id, err := capture.IdentifyHead(name)
	if err != nil {
		return lake.Input{}, err
	}
	head := fmt.Sprintf("%x", id.Head)
	known := slices.ContainsFunc(m.Imports, func(imp lake.Import) bool {
		return slices.ContainsFunc(imp.Inputs, func(in lake.Input) bool {
			return in.Head == head || in.HeadLen < int64(id.HeadLen)
		})
	})
	if known && !id.Whole {
		if id, err = capture.Identify(name, 0); err != nil {
			return lake.Input{}, err
		}
	}
	in := lake.Input{Name: name, Head: head, HeadLen: int64(id.HeadLen)}
	if id.Whole {
		in.Size, in.Sum = id.Size, fmt.Sprintf("%x", id.Sum)
	}
	return in, nil
}

// prefixSum returns the sum of the first n bytes of a capture.
func prefixSum(name string, in lake.Input, n int64) (string, error) {
	if n == in.Size && in.Sum != "" {
		return in.Sum, nil
	}
	id, err := capture.Identify(name, n)
	if err != nil {
		return "", err
	}
	if !id.HasPrefix {
		return "", fmt.Errorf("%s is shorter than %d bytes", name, n)
	}
	return fmt.Sprintf("%x", id.Prefix), nil
}
