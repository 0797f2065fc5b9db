// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// multiValue lists the flags that take several arguments in a row, as IVRE's
// do: --top src.addr dport.
func multiValue() []string {
	return []string{
		"node-filters", "flow-filters", "top", "collect", "sum", "fields", "orderby",
		"host", "net", "src", "dst", "proto", "port", "dport", "sport",
	}
}

// optionalValue lists the flags that take a value, or several, or none: "--fields",
// "--fields src dst".
func optionalValue() []string { return []string{"fields", "precision"} }

// expandArgs repeats the flags of multiValue before each of their values, so
// that "--top a b" becomes "--top=a --top=b". A value that starts with "-" ends
// the row, except as the first one after its flag.
func expandArgs(own, persistent *pflag.FlagSet, args []string) []string {
	lookup := func(name string, short bool) *pflag.Flag {
		for _, set := range []*pflag.FlagSet{own, persistent} {
			var f *pflag.Flag
			if short {
				f = set.ShorthandLookup(name)
			} else {
				f = set.Lookup(name)
			}
			if f != nil {
				return f
			}
		}
		return nil
	}
	var out []string
	current := "" // the flag whose row goes on
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(out, args[i:]...)
		}
		if len(arg) < 2 || arg[0] != '-' {
			if current != "" {
				arg = "--" + current + "=" + arg
			}
			out = append(out, arg)
			continue
		}
		name, value, hasValue := "", "", false
		var prefix string // flags without value before the one that counts
		if strings.HasPrefix(arg, "--") {
			name, value, hasValue = strings.Cut(arg[2:], "=")
		} else {
			prefix, name, value, hasValue = cutShort(arg, func(c string) *pflag.Flag { return lookup(c, true) })
		}
		current = ""
		f := lookup(name, false)
		switch {
		case f != nil && slices.Contains(optionalValue(), name):
			out = append(out, arg)
			if !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++
				out[len(out)-1] += "=" + args[i]
				hasValue = true
			}
			if hasValue && slices.Contains(multiValue(), name) {
				current = name
			}
		case f == nil || f.NoOptDefVal != "":
			out = append(out, arg)
		case !slices.Contains(multiValue(), name):
			out = append(out, arg)
			if !hasValue && i+1 < len(args) {
				// The value belongs to the flag whatever it looks like.
				i++
				out = append(out, args[i])
			}
		default:
			current = name
			if prefix != "" {
				out = append(out, prefix)
			}
			if !hasValue {
				if i+1 == len(args) {
					return append(out, "--"+name)
				}
				i++
				value = args[i]
			}
			out = append(out, "--"+name+"="+value)
		}
	}
	return out
}

// cutShort takes short flags apart: those without value in front (with their
// dash), and the long name and the value of the first one that takes a value.
func cutShort(arg string, lookup func(string) *pflag.Flag) (prefix, name, value string, hasValue bool) {
	for i := 1; i < len(arg); i++ {
		f := lookup(arg[i : i+1])
		if f == nil {
			return "", "", "", false
		}
		if f.NoOptDefVal != "" {
			continue
		}
		if i > 1 {
			prefix = arg[:i]
		}
		rest := arg[i+1:]
		return prefix, f.Name, strings.TrimPrefix(rest, "="), rest != ""
	}
	return "", "", "", false
}
