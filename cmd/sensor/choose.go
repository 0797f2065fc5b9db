// SPDX-License-Identifier: Apache-2.0

package main

import (
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

// unread leaves out the captures that are in the store already.
func (r *reading) unread(names []string) ([]string, error) {
	if r.o.store == "none" {
		return names, nil
	}
	m, err := lake.ReadManifest(r.o.store)
	if errors.Is(err, lake.ErrNotStore) {
		// It is made once there is something to put into it.
		return names, nil
	}
	if err != nil {
		return nil, err
	}
	if r.o.init {
		// The old content goes in the commit that brings the new.
		for i := range m.Imports {
			r.replace = append(r.replace, m.Imports[i].ID)
		}
		return names, nil
	}
	return r.choose(m, names)
}

// choose compares the captures with the imports of the store.
func (r *reading) choose(m *lake.Manifest, names []string) ([]string, error) {
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
		case v.Knowledge == lake.Known && v.Import.Damaged:
			return nil, fmt.Errorf("%s is in the store already, but damaged parts of it were dropped: --replace reads it again",
				names[i])
		case v.Knowledge == lake.Known:
			fmt.Fprintf(r.stderr, "sensor: %s: skipped, it is in the store already (read %s as %s)\n",
				names[i], v.Import.Time.Local().Format(time.DateTime), v.Name)
		case v.Knowledge == lake.Differs:
			return nil, fmt.Errorf("%s is in the store already, read with other options (%s; now: %s): --replace puts the new result in its place",
				names[i], v.Import.Options, r.o.fingerprint())
		default:
			return nil, fmt.Errorf("%s begins with what is in the store already as %s, it has grown: --replace reads it whole and puts it in place of the old result",
				names[i], v.Name)
		}
	}
	for id, again := range replaced {
		for _, in := range m.Find(id).Inputs {
			if !slices.Contains(again, in.Name) {
				return nil, fmt.Errorf("%s was read together with %s: to replace it, name both", again[0], in.Name)
			}
		}
		r.replace = append(r.replace, id)
	}
	slices.Sort(r.replace)
	return unread, nil
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
