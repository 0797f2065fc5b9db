// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/internal/filter"
	"weir/internal/term"
	"weir/store"
)

// completeSelection returns how shells complete the flags that addSelection adds.
func (o *options) completeSelection() map[string]cobra.CompletionFunc {
	addr, port := o.completeValues("addr"), o.completeValues("dport")
	return map[string]cobra.CompletionFunc{
		"flow-filters": o.completeFilter, "node-filters": o.completeFilter,
		"host": addr, "src": o.completeValues("src.addr"), "dst": o.completeValues("dst.addr"),
		"proto": o.completeValues("proto"), "port": port, "dport": port, "sport": o.completeValues("sports"),
	}
}

// completeAttributes returns how shells complete the flags of lists that take attributes.
func completeAttributes() map[string]cobra.CompletionFunc {
	every := attributesThat(nil, func(*store.Attribute) bool { return true })
	one := attributesThat([]string{"src", "dst", "flow"}, func(a *store.Attribute) bool { return !a.Set })
	return map[string]cobra.CompletionFunc{
		"top": every, "collect": every, "fields": every,
		"sum": attributesThat(nil, func(a *store.Attribute) bool { return a.Type == filter.Size && !a.Set }),
		"orderby": func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			// Several are separated by commas, and a dash reverses one.
			head := typed[:strings.LastIndexByte(typed, ',')+1]
			if strings.HasPrefix(typed[len(head):], "-") {
				head += "-"
			}
			list, directive := one(cmd, args, typed[len(head):])
			for i := range list {
				list[i] = head + list[i]
			}
			return list, directive
		},
	}
}

// attributesThat completes the names of attributes that fit, besides more.
func attributesThat(more []string, fits func(*store.Attribute) bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var out []cobra.Completion
		add := func(name, help string) {
			if strings.HasPrefix(name, typed) {
				out = append(out, cobra.CompletionWithDesc(name, help))
			}
		}
		for _, name := range more {
			add(name, "")
		}
		list := store.AttributesOf("lake")
		for i := range list {
			if fits(&list[i]) {
				add(list[i].Name, list[i].Help)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFilter completes a filter at its end: attributes, operators, values, AND and OR.
func (o *options) completeFilter(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c := filter.Complete(typed)
	head := typed[:c.Offset]
	// A filter may always go on.
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
	var out []cobra.Completion
	for _, s := range c.Suggestions {
		out = append(out, cobra.CompletionWithDesc(head+s.Insert, s.Help))
	}
	if c.Attribute == "" || len(out) > 0 {
		return out, directive
	}
	for _, v := range o.storedValues(cmd, c.Attribute, c.Prefix) {
		switch {
		case c.Quoted && strings.ContainsAny(v, `"'\`):
			continue
		case c.Quoted:
			v += typed[c.Offset-1 : c.Offset]
		default:
			v = filter.ValueText(c.Attribute, v)
		}
		out = append(out, head+v)
	}
	return out, directive
}

// completeValues completes the values of an attribute: known ones, or those in the store.
func (o *options) completeValues(attribute string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var out []cobra.Completion
		for _, s := range filter.Complete(attribute + " = " + typed).Suggestions {
			if s.Kind == filter.SuggestValue {
				out = append(out, s.Insert)
			}
		}
		if len(out) == 0 {
			out = o.storedValues(cmd, attribute, typed)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// Bounds of what completion asks of a store: a person waits for it, at each key. --timeout
// sets another time.
const (
	suggestWithin = 300 * time.Millisecond
	suggestValues = 50
	// suggestOf is how many values are looked through, the most frequent ones.
	suggestOf = 1000
)

// storedValues returns the most frequent values of an attribute in the store that begin with a
// prefix; none where they do not come in time, or there is no store: completion is no place for errors.
func (o *options) storedValues(cmd *cobra.Command, attribute, prefix string) []string {
	a := storedAttribute(attribute)
	if a == nil {
		return nil
	}
	switch a.Type {
	case filter.Text, filter.Address, filter.Number:
	case filter.Size, filter.Time, filter.Duration, filter.Bool:
		return nil
	}
	if o.configure(cmd) != nil {
		return nil
	}
	if o.stderr = io.Discard; o.timeout == 0 {
		o.timeout = suggestWithin
	}
	var rows []store.TopRow
	err := o.withStore(context.WithoutCancel(cmd.Context()), func(ctx context.Context, db store.Reader) (err error) {
		rows, err = db.Top(ctx, store.TopQuery{Query: store.Query{Limit: suggestOf}, Fields: []string{a.Name}})
		return err
	})
	if err != nil {
		return nil
	}
	var out []string
	for i := range rows {
		if rows[i].Fields[0] == nil || len(out) == suggestValues {
			continue
		}
		text := fmt.Sprint(rows[i].Fields[0])
		// What would have to be escaped cannot be typed either.
		if strings.HasPrefix(text, prefix) && text != "" && term.Escape(text) == text {
			out = append(out, text)
		}
	}
	return out
}

// storedAttribute returns the attribute with a name, of those of all kinds of intel (meta.query) the
// first one, or nil.
func storedAttribute(name string) *store.Attribute {
	list := store.AttributesOf("lake")
	for i := range list {
		a := &list[i]
		if a.Name == name || a.Attr != nil && "meta."+a.Attr.FilterName() == name {
			return a
		}
	}
	return nil
}

// completionArgs returns the arguments of a request of a shell as cobra is to see them: a
// further value of a flag that takes several in a row is one of that flag.
func completionArgs(args []string, expand func([]string) []string) []string {
	last := args[len(args)-1]
	if len(args) < 3 || strings.HasPrefix(last, "-") {
		return args
	}
	if flag, isFlag := strings.CutPrefix(args[len(args)-2], "-"); isFlag && !strings.Contains(flag, "=") {
		if flag = strings.TrimPrefix(flag, "-"); slices.Contains(optionalValue(), flag) {
			return append(slices.Clone(args[:len(args)-2]), "--"+flag+"="+last)
		}
		return args // cobra knows whether it has a value
	}
	out := expand(args[1:])
	// A flag with an empty value is not expanded.
	name, value, ok := strings.Cut(out[len(out)-1], "=")
	if !ok || value != last || !strings.HasPrefix(name, "--") {
		return args
	}
	out = append([]string{args[0]}, out...)
	if slices.Contains(optionalValue(), name[2:]) {
		return out // cobra would take a value that stands apart for an argument
	}
	return append(out[:len(out)-1], name, last)
}

// completeSubject completes the arguments of show: hosts, a service, a host.
func (o *options) completeSubject(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return o.completeValues("addr")(cmd, args, typed)
	case 2:
		return o.completeValues("dst.addr")(cmd, args, typed)
	}
	return command.Words()(cmd, args, typed)
}
