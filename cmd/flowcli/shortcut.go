// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"weir/internal/filter"
	"weir/internal/flow"
)

// shortcuts are the flags that stand for filters on one attribute, as IVRE's.
// Several values of one are alternatives; different ones are combined with AND.
type shortcuts struct {
	host, net, src, dst []string
	proto               []string
	tcp, udp            bool
	port, dport, sport  []string
	width               slots
	after, before       moment
}

// moment is the text of a time, which is never empty.
type moment string

func (m *moment) String() string { return string(*m) }
func (m *moment) Type() string   { return "time" }

// Set implements pflag.Value.
func (m *moment) Set(text string) error {
	if text == "" {
		return errors.New("the time is empty")
	}
	*m = moment(text)
	return nil
}

// addFlags adds the flags.
func (s *shortcuts) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&s.host, "host", nil, "select flows from or to these `addresses` or networks: addr = X")
	f.StringArrayVar(&s.src, "src", nil, "select flows from these `addresses` or networks: src.addr = X")
	f.StringArrayVar(&s.dst, "dst", nil, "select flows to these `addresses` or networks: dst.addr = X")
	f.StringArrayVar(&s.net, "net", nil, "select flows from or to these `networks`: addr = X")
	f.StringArrayVar(&s.proto, "proto", nil, "select flows of these `protocols`, by name or number")
	f.BoolVar(&s.tcp, "tcp", false, "short for --proto tcp")
	f.BoolVar(&s.udp, "udp", false, "short for --proto udp")
	f.StringArrayVar(&s.dport, "dport", nil, "select flows to these `ports` of servers")
	f.StringArrayVar(&s.port, "port", nil, "the same: `ports` of servers")
	f.StringArrayVar(&s.sport, "sport", nil, "select flows with one of these `ports` of clients")
	f.VarP(&s.after, "after", "a", "select flows that were active after this `time`, by slots: 2024-03-01, '2024-03-01 10:00', seconds since 1970, or -2h")
	f.VarP(&s.before, "before", "b", "select flows that were active before this `time`; their counters stay whole")
	f.Var(&s.width, "precision", "select flows with slots of this width, in `seconds` or as 2h; without a value: print the width")
	f.Lookup("precision").NoOptDefVal = showSlots
}

// shortcut is a flag with the attribute that it compares.
type shortcut struct {
	flag, attr string
	values     []string
}

// list returns the flags that compare an attribute. Those of one attribute that would
// contradict each other are one: --tcp --udp.
func (s *shortcuts) list() [][]shortcut {
	protocols := []shortcut{{"proto", "proto", s.proto}}
	if s.tcp {
		protocols = append(protocols, shortcut{"tcp", "proto", []string{"tcp"}})
	}
	if s.udp {
		protocols = append(protocols, shortcut{"udp", "proto", []string{"udp"}})
	}
	list := [][]shortcut{
		{{"host", "addr", s.host}},
		{{"src", "src.addr", s.src}},
		{{"dst", "dst.addr", s.dst}},
		{{"net", "addr", s.net}},
		protocols,
		{{"port", "dport", s.port}, {"dport", "dport", s.dport}},
		{{"sport", "sports", s.sport}},
	}
	if s.width.width > 0 {
		list = append(list, []shortcut{{"precision", "times.duration", []string{time.Duration(s.width.width).String()}}})
	}
	return list
}

// filters returns what the flags select.
func (s *shortcuts) filters(opts filter.Options) ([]*filter.Expr, error) {
	var out []*filter.Expr
	for _, group := range s.list() {
		var clauses []string
		for _, c := range group {
			for _, v := range c.values {
				clause := c.attr + " = " + quoteFilter(v)
				// Each is read alone, so that an error names the flag.
				if err := c.check(clause, v, opts); err != nil {
					return nil, err
				}
				clauses = append(clauses, clause)
			}
		}
		if len(clauses) == 0 {
			continue
		}
		e, err := filter.Parse(strings.Join(clauses, " OR "), opts)
		if err != nil {
			return nil, usage(fmt.Errorf("--%s: %w", group[0].flag, err))
		}
		out = append(out, e)
	}
	return out, nil
}

// check reports a value that the attribute does not take.
func (c *shortcut) check(clause, value string, opts filter.Options) error {
	e, err := filter.Parse(clause, opts)
	if err == nil && c.attr == "proto" {
		return knownProto(c.flag, value, e)
	}
	bad := new(filter.SyntaxError)
	if !errors.As(err, &bad) {
		return err
	}
	msg := bad.Msg
	if strings.Contains(value, ",") {
		msg += fmt.Sprintf("; several values stand apart: --%s %s", c.flag, apart(value))
	}
	return usage(fmt.Errorf("--%s: %s", c.flag, msg))
}

// knownProto reports a name that no protocol has. A filter may compare with any text;
// whoever mistypes a name here would see nothing.
func knownProto(flag, value string, e *filter.Expr) error {
	_, name, _ := strings.Cut(e.String(), " = ")
	if isProto(name) {
		return nil
	}
	known := ""
	for _, a := range filter.Attributes() {
		if a.Name == "proto" {
			known = strings.Join(a.Values, ", ")
		}
	}
	return usage(fmt.Errorf("--%s %q is no protocol: write a number, or a name as %s", flag, value, known))
}

// isProto reports whether flows can have the protocol with a name.
func isProto(name string) bool {
	for n := range 256 {
		if flow.ProtoLabel(uint8(n)) == name {
			return true
		}
	}
	return false
}

// apart returns values that a comma separates with a space instead.
func apart(values string) string {
	return strings.Join(strings.FieldsFunc(values, func(r rune) bool { return r == ',' || r == ' ' }), " ")
}

// quoteFilter returns a text as a value of a filter.
func quoteFilter(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// window returns the times that --after and --before name; zero times bound nothing.
func (s *shortcuts) window(opts filter.Options) (after, before time.Time, err error) {
	for _, end := range []struct {
		flag string
		text moment
		to   *time.Time
	}{{"after", s.after, &after}, {"before", s.before, &before}} {
		if end.text == "" {
			continue
		}
		if *end.to, err = filter.ParseTime(string(end.text), opts); err != nil {
			return after, before, usage(fmt.Errorf("--%s: %w", end.flag, err))
		}
	}
	if !after.IsZero() && !before.IsZero() && !after.Before(before) {
		return after, before, usage(fmt.Errorf("--after %s is not before --before %s", s.after, s.before))
	}
	return after, before, nil
}

// showSlots is the value that --precision has without one.
const showSlots = "show"

// slots is a width of slots to select by, or the wish to see the store's.
type slots struct {
	width precision
	show  bool
}

func (s *slots) String() string {
	switch {
	case s.show:
		return showSlots
	case s.width == 0:
		return ""
	}
	return s.width.String()
}

func (s *slots) Type() string { return s.width.Type() }

// Set implements pflag.Value.
func (s *slots) Set(text string) error {
	if s.show = text == showSlots; s.show {
		return nil
	}
	return s.width.Set(text)
}
