// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"weir/internal/command"
	"weir/internal/term"
	"weir/store"
	"weir/store/lake"
	"weir/store/lakequery"
)

// tailOptions are the flags of tail.
type tailOptions struct {
	last       int
	once, wait bool
}

// pollEvery is how often tail looks whether there is something new. Writers
// publish every few seconds.
const pollEvery = 500 * time.Millisecond

const tailHelp = `tail prints the last connections that ended, and then others as they end: those
of every sensor and import that writes into the store. Filters select connections,
each taken as a flow of its own; conditions on meta look at what was learned from
that connection. Sensors publish every 5 seconds.

It goes on until it is interrupted.`

const tailExamples = `  flowcli tail
  flowcli tail -f 'dport = 443' 'csbytes > 1M'
  flowcli tail -f 'meta.dns.query =~ .*\.example\.com' --ndjson
  flowcli tail --last 100 --once                the last 100, and no more`

func (o *options) newTail() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "tail [flags]",
		Short:   "Print connections as they end",
		Long:    tailHelp,
		Example: tailExamples,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.runTail(cmd.Context()) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVarP(&o.list.flowFilters, "flow-filters", "f", nil, "print connections that these `filters` select")
	f.StringArrayVarP(&o.list.nodeFilters, "node-filters", "n", nil, "the same; IVRE's `filters` on hosts (src.addr, dst.addr, addr)")
	f.BoolVar(&o.json, "ndjson", false, "print JSON, one object a line, with the columns of view conn")
	f.BoolVarP(&o.json, "json", "j", false, "the same: it has no end that could close an array")
	f.IntVar(&o.tail.last, "last", 10, "print this `many` of the connections that ended before")
	f.BoolVar(&o.tail.once, "once", false, "print only these and end")
	f.BoolVar(&o.tail.wait, "wait", false, "wait for the store where there is none yet")
	return cmd
}

func (o *options) runTail(ctx context.Context) error {
	if o.tail.last < 0 || o.tail.last > lakequery.MaxLast {
		return &command.UsageError{Err: fmt.Errorf("--last %d is not between 0 and %d", o.tail.last, lakequery.MaxLast)}
	}
	e, err := o.parseFilters()
	if err != nil {
		return err
	}
	d, err := need[directory](o, "tail", "only a lake keeps single connections")
	if err != nil {
		return err
	}
	if o.tail.wait {
		if err := waitForLake(ctx, d.path()); err != nil {
			return err
		}
	}
	err = using(ctx, o, d.query, func(ctx context.Context, db *lakequery.DB) (err error) {
		t, err := db.Tail(ctx, lakequery.TailQuery{Filter: e, Intel: !o.json})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.Close()) }()
		return o.follow(ctx, t)
	})
	switch {
	case errors.Is(err, syscall.EPIPE):
		return nil // whoever read has seen enough
	case errors.Is(err, lake.ErrNotStore):
		return fmt.Errorf("%w; --wait waits for it", err)
	}
	return err
}

// follow prints connections until ctx is done.
func (o *options) follow(ctx context.Context, t *lakequery.Tail) error {
	p, err := o.newTailPrinter(t.Columns())
	if err != nil {
		return err
	}
	if err := printTail(p, t.Last(ctx, o.tail.last)); err != nil || o.tail.once {
		return err
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if hungUp(o.stdout) {
			return nil
		}
		if err := printTail(p, t.Poll(ctx)); err != nil {
			return err
		}
		if t.Missed() {
			fmt.Fprintln(o.stderr, "flowcli: some connections may be missing here: they were merged with others before they were read")
		}
	}
}

// tailPrinter prints rows; Flush must follow.
type tailPrinter interface {
	row(row []any) error
	flush() error
}

func printTail(p tailPrinter, rows iter.Seq2[[]any, error]) error {
	for row, err := range rows {
		if err == nil {
			err = p.row(row)
		}
		if err != nil {
			return errors.Join(err, p.flush())
		}
	}
	return p.flush()
}

// hungUp reports whether nobody reads from the other end of w any more.
func hungUp(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

func (o *options) newTailPrinter(columns []store.Column) (tailPrinter, error) {
	if o.json {
		names := make([]string, len(columns))
		for i := range columns {
			names[i] = columns[i].Name
		}
		s, err := newJSONSheet(o.stdout, false, named(names...))
		return &tailJSON{s}, err
	}
	t := &tailTable{zone: o.zone, index: make(map[string]int)}
	for i := range columns {
		t.index[columns[i].Name] = i
	}
	right := func(name string) term.Column { return term.Column{Name: name, Right: true} }
	t.Table = term.NewTable(o.stdout, "  ", true,
		term.Column{Name: "lastseen"}, term.Column{Name: "src"}, term.Column{}, term.Column{Name: "dst"},
		term.Column{Name: "proto"}, term.Column{Name: "service"}, term.Column{Name: "state"},
		right("csbytes"), right("scbytes"), right("duration"), term.Column{Name: "intel"},
	)
	return t, nil
}

// tailJSON prints objects.
type tailJSON struct{ s *jsonSheet }

func (t *tailJSON) row(row []any) error { return t.s.row(row, nil) }
func (t *tailJSON) flush() error        { return t.s.flush() }

// tailTable prints lines for people.
type tailTable struct {
	*term.Table
	zone  *time.Location
	index map[string]int // of a column in a row, by name
}

func (t *tailTable) flush() error { return t.Flush() }

func (t *tailTable) row(row []any) error {
	text := func(name string) string { return cellText(row[t.index[name]]) }
	end := func(addr, port string) string {
		if p := text(port); p != "" {
			return net.JoinHostPort(text(addr), p)
		}
		return text(addr)
	}
	ended, _ := row[t.index["lastseen"]].(time.Time)
	proto := text("proto")
	if typ := text("type"); typ != "" {
		proto += "/" + typ
	}
	seconds, _ := row[t.index["duration"]].(float64)
	list, _ := row[t.index["intel"]].([]any)
	var intel []string
	for i, v := range list {
		if i == maxTexts {
			intel = append(intel, "…")
			break
		}
		intel = append(intel, cellText(v))
	}
	return t.Row(ended.In(t.zone).Format(timeLayout+".000"), end("src", "sport"), "->", end("dst", "dport"),
		proto, text("service"), text("conn_state"), text("csbytes"), text("scbytes"),
		strconv.FormatFloat(seconds, 'f', 3, 64), strings.Join(intel, ", "))
}

// maxTexts is how many texts of intel are shown; the store says whether there
// are more.
const maxTexts = 3
