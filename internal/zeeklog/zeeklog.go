// SPDX-License-Identifier: Apache-2.0

// Package zeeklog writes connections and intel as Zeek's logs (conn.log,
// dns.log, http.log, ssl.log), tab-separated or as JSON lines, so that what read
// Zeek's output reads weir's.
package zeeklog

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weir/internal/flow"
)

// Config says where and how to write.
type Config struct {
	// Dir is the directory of the logs; it is made if absent.
	Dir string
	// JSON writes one JSON object a line instead of tab-separated values.
	JSON bool
}

// Logs writes the logs of one run. A log exists only if it has a record.
// Records go to temporary files. Finish completes them, Commit gives them their
// names, Abort removes them: an interrupted run leaves no half-written logs.
// Connections and Intel may be called from two goroutines at once; nothing else
// may.
type Logs struct {
	cfg   Config
	conn  *log
	intel []*log
	kinds []flow.KindInfo
	local []netip.Prefix
}

// log is one open log.
type log struct {
	cfg    Config
	name   string
	fields []field
	file   *os.File
	temp   string // name of the file until it is committed
	w      *bufio.Writer
	line   []byte
	first  bool // no field of the current JSON line was written yet
	index  int
	live   *liveFile // where lines go in a live run, instead of file
}

type field struct{ name, zeekType string }

// Zeek cuts what it writes to a log since version 8.1: a text, also one in a list,
// and a list. Its limits for all of a record are beyond what our kinds can reach.
const (
	maxText = 4096 // bytes, before any are escaped
	maxList = 100
)

// Create makes the directory and returns Logs that write into it.
func Create(cfg Config) (*Logs, error) {
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	return newLogs(cfg), nil
}

func newLogs(cfg Config) *Logs {
	l := &Logs{cfg: cfg, kinds: flow.Kinds(), local: locals()}
	l.conn = &log{cfg: cfg, name: "conn", fields: connFields()}
	for i := range l.kinds {
		l.intel = append(l.intel, &log{cfg: cfg, name: l.kinds[i].Name, fields: intelFields(&l.kinds[i])})
	}
	return l
}

func idFields() []field {
	return []field{
		{"ts", "time"},
		{"uid", "string"},
		{"id.orig_h", "addr"},
		{"id.orig_p", "port"},
		{"id.resp_h", "addr"},
		{"id.resp_p", "port"},
	}
}

func connFields() []field {
	return append(idFields(), []field{
		{"proto", "enum"},
		{"service", "string"},
		{"duration", "interval"},
		{"orig_bytes", "count"},
		{"resp_bytes", "count"},
		{"conn_state", "string"},
		{"local_orig", "bool"},
		{"local_resp", "bool"},
		{"missed_bytes", "count"},
		{"history", "string"},
		{"orig_pkts", "count"},
		{"orig_ip_bytes", "count"},
		{"resp_pkts", "count"},
		{"resp_ip_bytes", "count"},
		{"tunnel_parents", "set[string]"},
		{"ip_proto", "count"},
	}...)
}

func intelFields(k *flow.KindInfo) []field {
	fields := idFields()
	if k.Proto {
		fields = append(fields, field{"proto", "enum"})
	}
	for _, a := range k.Attrs {
		fields = append(fields, field{a.Column, a.ZeekType})
	}
	return fields
}

// Connections writes a batch to conn.log: one line for each connection when it
// ends, whole. Interim records are not for it.
func (l *Logs) Connections(b *flow.ConnBatch) error {
	g := l.conn
	var whole flow.Connection
	for i := range b.Conns {
		c := &b.Conns[i]
		if c.End == flow.EndActive {
			continue
		}
		if c.Total != nil {
			whole = c.Whole()
			c = &whole
		}
		if err := g.open(); err != nil {
			return err
		}
		g.begin(&c.Tuple, c.First)
		g.text(flow.ProtoName(c.Proto))
		g.optional(c.Service)
		if d := c.Duration(); d > 0 {
			g.interval(d)
			g.count(c.CSPayload)
			g.count(c.SCPayload)
		} else {
			g.unset(3)
		}
		g.optional(c.State.String())
		g.boolean(l.isLocal(c.Src))
		g.boolean(l.isLocal(c.Dst))
		g.count(c.Missed)
		if len(c.History) > 0 {
			g.bytes(c.History)
		} else {
			g.unset(1)
		}
		g.count(c.CSPkts)
		g.count(c.CSBytes)
		g.count(c.SCPkts)
		g.count(c.SCBytes)
		if len(c.TunnelParents) > 0 {
			g.listBegin()
			for j, uid := range c.TunnelParents {
				g.element(j, flow.AppendUID(nil, uid))
			}
			g.listEnd()
		} else {
			g.unset(1)
		}
		g.count(uint64(c.Proto))
		if err := g.end(); err != nil {
			return err
		}
	}
	return nil
}

// Intel writes a batch to the logs of its kinds.
func (l *Logs) Intel(b *flow.IntelBatch) error {
	for i := range b.Recs {
		r := &b.Recs[i]
		g := l.intel[r.Kind]
		if err := g.open(); err != nil {
			return err
		}
		k := &l.kinds[r.Kind]
		g.begin(&r.Tuple, r.TS)
		if k.Proto {
			g.text(flow.ProtoName(r.Proto))
		}
		for a := range k.Attrs {
			g.attr(b, i, a, &k.Attrs[a])
		}
		if err := g.end(); err != nil {
			return err
		}
	}
	return nil
}

func (g *log) attr(b *flow.IntelBatch, rec, attr int, info *flow.Attr) {
	if info.LogOnly && info.Type.List() {
		g.listBegin()
		g.listEnd()
		return
	}
	if !b.Has(rec, attr) {
		g.unset(1)
		return
	}
	switch info.Type {
	case flow.Text:
		g.bytes(b.Bytes(rec, attr))
	case flow.Count:
		g.count(uint64(b.Int(rec, attr)))
	case flow.Bool:
		g.boolean(b.Int(rec, attr) != 0)
	case flow.Interval:
		g.interval(b.Int(rec, attr))
	case flow.TextList:
		g.listBegin()
		n := 0
		for text := range b.Texts(rec, attr) {
			g.element(n, text)
			n++
		}
		g.listEnd()
	case flow.IntervalList:
		g.listBegin()
		n := 0
		for us := range b.Ints(rec, attr) {
			g.number(n, us)
			n++
		}
		g.listEnd()
	}
}

// open makes the temporary file at the first record.
func (g *log) open() error {
	if g.file != nil || g.live != nil {
		return nil
	}
	f, err := os.CreateTemp(g.cfg.Dir, "."+g.name+".log.*")
	if err != nil {
		return fmt.Errorf("create %s.log: %w", g.name, err)
	}
	if err := f.Chmod(0o644); err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return fmt.Errorf("create %s.log: %w", g.name, err)
	}
	g.file, g.temp = f, f.Name()
	g.w = bufio.NewWriterSize(f, 256<<10)
	_, err = g.w.WriteString(g.header(time.Now()))
	return err
}

// stampLayout is how the #open and #close lines show times.
const stampLayout = "2006-01-02-15-04-05"

// header returns the lines that begin a log, footer the one that ends it; there
// are none in JSON.
func (g *log) header(now time.Time) string {
	if g.cfg.JSON {
		return ""
	}
	names, types := make([]string, len(g.fields)), make([]string, len(g.fields))
	for i, f := range g.fields {
		names[i], types[i] = f.name, f.zeekType
	}
	return fmt.Sprintf("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t%s\n#open\t%s\n#fields\t%s\n#types\t%s\n",
		g.name, now.Format(stampLayout), strings.Join(names, "\t"), strings.Join(types, "\t"))
}

func (g *log) footer(now time.Time) string {
	if g.cfg.JSON {
		return ""
	}
	return "#close\t" + now.Format(stampLayout) + "\n"
}

// Finish writes everything to the temporary files, so that Commit has nothing
// left to do that needs space.
func (l *Logs) Finish() error {
	for _, g := range l.all() {
		if err := g.finish(); err != nil {
			return fmt.Errorf("write %s.log: %w", g.name, err)
		}
	}
	return nil
}

// Commit gives the finished logs their names, replacing those of an earlier
// run. It returns the names of logs of an earlier run that this run has no
// records for; they stay.
func (l *Logs) Commit() (stale []string, err error) {
	for _, g := range l.all() {
		name := filepath.Join(l.cfg.Dir, g.name+".log")
		if g.temp == "" {
			if _, err := os.Stat(name); err == nil {
				stale = append(stale, name)
			}
			continue
		}
		if err := os.Rename(g.temp, name); err != nil {
			return stale, fmt.Errorf("write %s.log: %w", g.name, err)
		}
		g.temp = ""
	}
	return stale, nil
}

// Abort removes what was not committed.
func (l *Logs) Abort() {
	for _, g := range l.all() {
		if g.file != nil {
			_ = g.file.Close()
			g.file = nil
		}
		if g.temp != "" {
			_ = os.Remove(g.temp)
			g.temp = ""
		}
	}
}

func (l *Logs) all() []*log { return append([]*log{l.conn}, l.intel...) }

// finish closes the temporary file.
func (g *log) finish() error {
	if g.file == nil {
		return nil
	}
	_, _ = g.w.WriteString(g.footer(time.Now())) // Flush tells
	err := g.w.Flush()
	if cerr := g.file.Close(); err == nil {
		err = cerr
	}
	g.file = nil
	return err
}

// begin starts a line with the fields that all logs share.
func (g *log) begin(t *flow.Tuple, ts flow.Time) {
	g.line, g.index, g.first = g.line[:0], 0, true
	if g.cfg.JSON {
		g.line = append(g.line, '{')
	}
	g.next()
	g.line = appendSeconds(g.line, ts.Micro())
	g.next()
	g.quote()
	g.line = flow.AppendUID(g.line, t.UID)
	g.quote()
	g.addr(t.Src)
	g.count(uint64(t.Sport))
	g.addr(t.Dst)
	g.count(uint64(t.Dport))
}

func (g *log) end() error {
	if g.cfg.JSON {
		g.line = append(g.line, '}')
	}
	g.line = append(g.line, '\n')
	if g.live != nil {
		g.live.add(g.line)
		return nil
	}
	if _, err := g.w.Write(g.line); err != nil {
		return fmt.Errorf("write %s.log: %w", g.name, err)
	}
	return nil
}

// next begins a field.
func (g *log) next() {
	if !g.cfg.JSON {
		if !g.first {
			g.line = append(g.line, '\t')
		}
		g.first = false
		return
	}
	if !g.first {
		g.line = append(g.line, ',')
	}
	g.first = false
	g.line = append(g.line, '"')
	g.line = append(g.line, g.fields[g.index].name...)
	g.line = append(g.line, '"', ':')
	g.index++
}

func (g *log) quote() {
	if g.cfg.JSON {
		g.line = append(g.line, '"')
	}
}

func (g *log) unset(n int) {
	for range n {
		if g.cfg.JSON {
			g.index++
			continue
		}
		g.next()
		g.line = append(g.line, '-')
	}
}

func (g *log) addr(a flow.Addr) {
	g.next()
	g.quote()
	g.line = a.AppendTo(g.line)
	g.quote()
}

func (g *log) count(n uint64) {
	g.next()
	g.line = strconv.AppendUint(g.line, n, 10)
}

func (g *log) interval(us int64) {
	g.next()
	g.line = appendSeconds(g.line, us)
}

func (g *log) boolean(on bool) {
	g.next()
	switch {
	case g.cfg.JSON:
		g.line = strconv.AppendBool(g.line, on)
	case on:
		g.line = append(g.line, 'T')
	default:
		g.line = append(g.line, 'F')
	}
}

func (g *log) optional(s string) {
	if s == "" {
		g.unset(1)
		return
	}
	g.text(s)
}

// text writes a text that needs no escaping.
func (g *log) text(s string) {
	g.next()
	g.quote()
	g.line = append(g.line, s...)
	g.quote()
}

func (g *log) bytes(b []byte) {
	g.next()
	b = b[:min(len(b), maxText)]
	if g.cfg.JSON {
		g.line = appendJSON(g.line, b)
		return
	}
	g.line = appendTSV(g.line, b, false)
}

func (g *log) listBegin() {
	g.next()
	if g.cfg.JSON {
		g.line = append(g.line, '[')
	}
}

func (g *log) listEnd() {
	switch {
	case g.cfg.JSON:
		g.line = append(g.line, ']')
	case len(g.line) == 0 || g.line[len(g.line)-1] == '\t':
		g.line = append(g.line, "(empty)"...)
	}
}

func (g *log) element(i int, text []byte) {
	if i >= maxList {
		return
	}
	if i > 0 {
		g.line = append(g.line, ',')
	}
	text = text[:min(len(text), maxText)]
	if g.cfg.JSON {
		g.line = appendJSON(g.line, text)
		return
	}
	g.line = appendTSV(g.line, text, true)
}

func (g *log) number(i int, us int64) {
	if i >= maxList {
		return
	}
	if i > 0 {
		g.line = append(g.line, ',')
	}
	g.line = appendSeconds(g.line, us)
}
