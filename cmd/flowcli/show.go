// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/internal/term"
	"weir/store"
)

const showHelp = `show prints all about a host or a flow.

A flow is SRC PROTO/PORT DST, in three arguments or as a line of the list; of ICMP
the number is the type, protocols without ports have none. All of its intel is
grouped by kind, the most frequent first.

Of a host it tells when it was seen, its flows and those at their other ends, which
names resolve to it, what it serves and uses, with whom it exchanges most bytes, and
the names in its flows.

What is not in the store ends with code 1, and a hint at what is near.`

const showExamples = `  flowcli show 10.0.0.1
  flowcli show 10.0.0.1 tcp/80 10.0.0.2
  flowcli show '10.0.0.1 | tcp/80 | 10.0.0.2'
  flowcli show fe80::1 icmp/135 ff02::1 --all
  flowcli show 2001:db8::2 --json`

// showOptions are the flags of show.
type showOptions struct {
	limit int
	all   bool
}

// showIntel is how many records of intel are read of a flow or a host, but for --all: what has
// more of them than anybody reads must not fill the memory.
const showIntel = 10_000

// intel returns how many records of intel a store is asked for.
func (s *showOptions) intel() int {
	if s.limit == store.All {
		return store.All
	}
	return max(s.limit, showIntel)
}

// showLimit is how many lines of each sort show prints where --limit is not given.
const showLimit = 20

func (o *options) newShow() *cobra.Command {
	var s showOptions
	cmd := &cobra.Command{
		Use:               "show HOST | SRC PROTO/PORT DST [flags]",
		Short:             "Print all about a host or a flow",
		Long:              showHelp,
		Example:           showExamples,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: o.completeSubject,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.runShow(cmd.Context(), args, &s) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVarP(&s.limit, "limit", "l", showLimit, "print this `many` records of each kind, and lines of each list, at most")
	f.BoolVar(&s.all, "all", false, "print all of them")
	f.BoolVarP(&o.json, "json", "j", false, "print JSON, one object")
	return cmd
}

func (o *options) runShow(ctx context.Context, args []string, s *showOptions) error {
	subject, err := parseSubject(args)
	if err != nil {
		return usage(err)
	}
	switch {
	case s.limit < 1:
		return usage(fmt.Errorf("--limit %d is not positive", s.limit))
	case s.all:
		s.limit = store.All
	}
	return o.withStore(ctx, func(ctx context.Context, db store.Reader) error {
		w := bufio.NewWriter(o.stdout)
		if subject.label == "" {
			err = o.showHost(ctx, db, w, subject.src, s)
		} else {
			err = o.showFlow(ctx, db, w, subject, s)
		}
		return errors.Join(err, w.Flush())
	})
}

// subject is a flow, or a host where it has no label.
type subject struct {
	src, dst netip.Addr
	label    string
	// filter selects the flow.
	filter *filter.Expr
}

// errSubject says what show takes.
var errSubject = errors.New("show takes a host, or a flow as SRC PROTO/PORT DST (10.0.0.1 tcp/80 10.0.0.2)")

// parseSubject reads the arguments of show: also a whole line of the list, whose other columns do
// not matter.
func parseSubject(args []string) (*subject, error) {
	line := len(args) == 1
	words := strings.FieldsFunc(strings.Join(args, " "), func(r rune) bool { return strings.ContainsRune(" \t|;,", r) })
	if len(words) != 1 && len(words) != 3 && !(line && len(words) > 3) {
		return nil, errSubject
	}
	addr := func(text string) (netip.Addr, error) {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return a, fmt.Errorf("%q is not an address; %w", text, errSubject)
		}
		return a.Unmap(), nil
	}
	var s subject
	var err error
	if s.src, err = addr(words[0]); err != nil || len(words) == 1 {
		return &s, err
	}
	if s.dst, err = addr(words[2]); err != nil {
		return nil, err
	}
	s.label = words[1]
	s.filter, err = s.parseLabel()
	return &s, err
}

// parseLabel returns the filter for the flow, and makes the label the one that flows have.
func (s *subject) parseLabel() (*filter.Expr, error) {
	proto, port, hasPort := strings.Cut(s.label, "/")
	if n, err := strconv.ParseUint(proto, 10, 8); err == nil {
		proto = flow.ProtoLabel(uint8(n))
	}
	proto = strings.ToLower(proto)
	if slices.Contains([]string{"icmp6", "icmpv6", "ipv6-icmp"}, proto) {
		proto = flow.ProtoLabel(flow.ICMPv6)
	}
	if !isProto(proto) {
		return nil, fmt.Errorf("%q is no protocol; %w", proto, errSubject)
	}
	s.label = proto
	rest := "!dport AND !type"
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is neither a port nor a type of ICMP; %w", port, errSubject)
		}
		attr := "dport"
		if proto == flow.ProtoLabel(flow.ICMP) {
			attr = "type"
		}
		rest = fmt.Sprintf("%s = %d", attr, n)
		s.label = fmt.Sprintf("%s/%d", proto, n)
	}
	return parsed(fmt.Sprintf(`src.addr = %s AND dst.addr = %s AND proto = "%s" AND %s`, s.src, s.dst, proto, rest))
}

// parsed reads a filter of ours, without times.
func parsed(text string) (*filter.Expr, error) {
	e, err := filter.Parse(text, filter.Options{Now: time.Unix(0, 0), Zone: time.UTC})
	if bad := new(filter.SyntaxError); errors.As(err, &bad) {
		return nil, errors.New(bad.Msg)
	}
	return e, err
}

func (s *subject) String() string { return fmt.Sprintf("%s %s %s", s.src, s.label, s.dst) }

// flowJSON is a flow as show prints it.
type flowJSON struct {
	*store.Flow
	// Precision is the width of the slots that begin at times, in seconds.
	Precision int64 `json:"precision"`
}

// showFlow prints a flow.
func (o *options) showFlow(ctx context.Context, db store.Reader, w *bufio.Writer, s *subject, opts *showOptions) error {
	var f *store.Flow
	for found, err := range db.Flows(ctx, store.Query{Filter: s.filter, Times: true, Intel: opts.intel(), Limit: 1}) {
		if err != nil {
			return err
		}
		f = found
	}
	if f == nil {
		hint, err := nearFlow(ctx, db, s)
		if err != nil {
			return err
		}
		return fmt.Errorf("there is no flow %s in the store: %s", s, hint)
	}
	status, err := db.Status(ctx)
	if err != nil {
		return err
	}
	unread := f.MoreIntel
	total := keepIntel(f, opts.limit)
	if o.json {
		return writeJSON(w, flowJSON{f, status.Precision})
	}
	o.printFlow(w, f, time.Duration(status.Precision)*time.Second)
	if err := o.printIntel(w, f.Intel, total); err != nil {
		return err
	}
	if unread > 0 {
		fmt.Fprintf(w, "\n%s more records are of the last of these kinds, or of others; --all reads them\n", term.Number(unread))
	}
	return nil
}

// keepIntel drops what is beyond a number of records of each kind, and returns how many
// there were of each.
func keepIntel(f *store.Flow, limit int) (total map[string]int) {
	total = make(map[string]int)
	var kept []store.Intel
	for _, in := range f.Intel {
		if total[in.Kind]++; limit != store.All && total[in.Kind] > limit {
			f.MoreIntel++
			continue
		}
		kept = append(kept, in)
	}
	f.Intel = kept
	return total
}

// nearFlow says what is in the store instead of a flow.
func nearFlow(ctx context.Context, db store.Reader, s *subject) (string, error) {
	const some = 5
	between := func(src, dst netip.Addr) (labels []string, err error) {
		e, err := parsed(fmt.Sprintf("src.addr = %s AND dst.addr = %s", src, dst))
		if err != nil {
			return nil, err
		}
		for f, err := range db.Flows(ctx, store.Query{Filter: e, Limit: some + 1, OrderBy: []store.Order{{Attr: "count", Desc: true}}}) {
			if err != nil {
				return nil, err
			}
			if len(labels) == some {
				labels = append(labels, "others")
				break
			}
			labels = append(labels, f.Label())
		}
		return labels, nil
	}
	there, err := between(s.src, s.dst)
	if err != nil {
		return "", err
	}
	if len(there) > 0 {
		return fmt.Sprintf("from %s to %s there are %s", s.src, s.dst, strings.Join(there, ", ")), nil
	}
	back, err := between(s.dst, s.src)
	if err != nil {
		return "", err
	}
	if len(back) > 0 {
		return fmt.Sprintf("the other way, from %s to %s, there are %s", s.dst, s.src, strings.Join(back, ", ")), nil
	}
	hosts, err := db.Hosts(ctx, store.HostQuery{Addrs: []netip.Addr{s.src, s.dst}})
	if err != nil {
		return "", err
	}
	for _, a := range []netip.Addr{s.src, s.dst} {
		if !slices.ContainsFunc(hosts, func(h *store.Host) bool { return h.Addr == a }) {
			return nearHost(ctx, db, a)
		}
	}
	return "the two hosts are, but have no flow", nil
}

// nearHost says which host of the store is near one that is not.
func nearHost(ctx context.Context, db store.Reader, a netip.Addr) (string, error) {
	// A network bounds what has to be looked at; flows of more hosts than this are not.
	const some = 1000
	bits := 24
	if a.Is6() {
		bits = 64
	}
	network, err := a.Prefix(bits)
	if err != nil {
		return "", fmt.Errorf("find the network of %s: %w", a, err)
	}
	var near []netip.Addr
	for _, end := range []string{"src.addr", "dst.addr"} {
		e, err := parsed(fmt.Sprintf("%s = %s", end, network))
		if err != nil {
			return "", err
		}
		rows, err := db.Top(ctx, store.TopQuery{Query: store.Query{Filter: e, Limit: some}, Fields: []string{end}})
		if err != nil {
			return "", err
		}
		for i := range rows {
			text, _ := rows[i].Fields[0].(string)
			if h, err := netip.ParseAddr(text); err == nil {
				near = append(near, h)
			}
		}
	}
	if len(near) == 0 {
		return fmt.Sprintf("there is no host %s, nor any in %s", a, network), nil
	}
	best := slices.MinFunc(near, func(b, c netip.Addr) int {
		return cmp.Or(slices.Compare(apartness(a, b), apartness(a, c)), b.Compare(c))
	})
	return fmt.Sprintf("there is no host %s; nearest %s", a, best), nil
}

// apartness returns the difference of two addresses as bytes, the greatest first.
func apartness(a, b netip.Addr) []byte {
	x, y := a.As16(), b.As16()
	if a.Less(b) {
		x, y = y, x
	}
	borrow := 0
	for i := len(x) - 1; i >= 0; i-- {
		d := int(x[i]) - int(y[i]) - borrow
		borrow = 0
		if d < 0 {
			d += 256
			borrow = 1
		}
		x[i] = byte(d)
	}
	return x[:]
}
