// SPDX-License-Identifier: Apache-2.0

// Package store is the contract between weir and the places where it keeps
// records: the questions that every store answers, what they can name, and the
// plain types of the answers. Drivers are packages below it.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strings"
	"time"

	"weir/internal/filter"
)

// Query selects flows. The zero value selects all of them.
type Query struct {
	// Filter selects flows; nil selects all.
	Filter *filter.Expr
	// OrderBy sorts them, the first entry first. Flows that compare equal are
	// in the order of src, dst, proto, dport and type, so that pages neither
	// overlap nor miss any.
	OrderBy []Order
	// Skip leaves out so many flows, Limit bounds how many follow; 0 is no limit.
	Skip, Limit int
	// Times fills in Flow.Times.
	Times bool
	// Intel is how many records of intel each flow shows at most; All shows them all.
	Intel int
}

// All is a number of records that bounds nothing.
const All = -1

// Order is one criterion of a sort.
type Order struct {
	// Attr is an attribute of flows with one value: "src", "dst", "flow" (proto,
	// then dport or type), or any name that the filter language has for one.
	Attr string
	// Desc sorts the greatest first. Flows without the attribute come last
	// either way.
	Desc bool
}

// Flow is all connections between two hosts that have the same protocol and
// server port (or ICMP type).
type Flow struct {
	Src   netip.Addr `json:"src"`
	Dst   netip.Addr `json:"dst"`
	Proto string     `json:"proto"`
	// Dport is nil where the protocol has no ports, Type where it is not ICMP.
	Dport *uint16 `json:"dport,omitempty"`
	Type  *uint16 `json:"type,omitempty"`
	// Sports and Codes hold distinct values in ascending order.
	Sports []uint16 `json:"sports,omitempty"`
	Codes  []uint16 `json:"codes,omitempty"`
	// Count is the number of connections.
	Count     int64     `json:"count"`
	CSPkts    int64     `json:"cspkts"`
	SCPkts    int64     `json:"scpkts"`
	CSBytes   int64     `json:"csbytes"`
	SCBytes   int64     `json:"scbytes"`
	FirstSeen time.Time `json:"firstseen"`
	LastSeen  time.Time `json:"lastseen"`
	// The following hold distinct values in ascending order.
	ConnState []string `json:"conn_state,omitempty"`
	Service   []string `json:"service,omitempty"`
	VLAN      []uint16 `json:"vlan,omitempty"`
	Sensor    []string `json:"sensor,omitempty"`
	// Times are the starts of the slots in which the flow was active, in ascending
	// order; nil unless the query asked for them.
	Times []time.Time `json:"times,omitempty"`
	// Intel is what was learned from the flow, by kind in the order of flow.Kinds, the most frequent
	// first, then in the order of the values of the kind's attributes, those that are missing last
	// (lists are compared by their elements, the shorter one first). MoreIntel is the number of
	// elements that Query.Intel left out, which are the last ones; it is 0 where the query asked for none.
	Intel     []Intel `json:"meta,omitempty"`
	MoreIntel int64   `json:"more_meta,omitempty"`
}

// Service is what a flow is for: a protocol with a server port or an ICMP type.
type Service struct {
	Proto string  `json:"proto"`
	Dport *uint16 `json:"dport,omitempty"`
	Type  *uint16 `json:"type,omitempty"`
}

// String returns the service as "tcp/80".
func (s Service) String() string {
	switch {
	case s.Dport != nil:
		return fmt.Sprintf("%s/%d", s.Proto, *s.Dport)
	case s.Type != nil:
		return fmt.Sprintf("%s/%d", s.Proto, *s.Type)
	}
	return s.Proto
}

// Intel is one thing learned from payload, however often it was seen.
type Intel struct {
	// Kind is the name of a flow.KindInfo.
	Kind string `json:"kind"`
	// Count is the number of records that have these values.
	Count int64 `json:"count"`
	// Attrs holds the values of the attributes that the record has, by the names that
	// filters have for them inside a block (flow.Attr.FilterName): values as in TopRow.Fields,
	// []any for lists, which are as in the record and may be empty.
	Attrs map[string]any `json:"attrs"`
}

// Label returns the flow's protocol and port, or ICMP type, as "tcp/80".
func (f *Flow) Label() string { return Service{f.Proto, f.Dport, f.Type}.String() }

// Counts is how much a query selects.
type Counts struct {
	// Clients and Servers count distinct source and destination hosts. A host
	// may be both.
	Clients int64 `json:"clients"`
	Servers int64 `json:"servers"`
	Flows   int64 `json:"flows"`
}

// TopQuery groups flows by the values of attributes and ranks the groups.
// Order, skip and limit of the Query apply to groups; OrderBy is ignored.
type TopQuery struct {
	Query
	// Fields are the attributes that make a group. A flow that has no value
	// for one of them is in the group of those without; one that has several
	// (a set) counts in each.
	Fields []string
	// Collect lists attributes whose distinct values each group shows.
	Collect []string
	// Sum ranks groups by the sum of these attributes instead of the number
	// of flows.
	Sum []string
	// Least puts the smallest groups first.
	Least bool
}

// TopRow is one group.
type TopRow struct {
	// Fields holds a value for each of the query's fields: a string, a bool, an int64,
	// a float64, a time.Time, or nil where the flows have none.
	Fields []any
	// Count is the number of flows, or the sum.
	Count int64
	// Collected holds the distinct combinations of the collected attributes,
	// sorted.
	Collected [][]any
}

// PairQuery asks for the pairs of hosts of the flows that a query selects, all of them
// merged before anything is skipped or limited. OrderBy takes what PairOrder knows:
// "src", "dst", "flows", and the counters and times of Pair; pairs that compare equal
// are in the order of src and dst. Query.Intel is ignored.
type PairQuery struct {
	Query
	// Services fills in Pair.Services.
	Services bool
}

// Pair is all flows that a query selects from one host to another one.
type Pair struct {
	Src netip.Addr `json:"src"`
	Dst netip.Addr `json:"dst"`
	// Services are what the flows are for, in the order of proto, dport and type, what is
	// missing last; nil unless the query asked for them.
	Services []Service `json:"services,omitempty"`
	// Flows is the number of flows; the others are sums, at most math.MaxInt64, and
	// bounds over them.
	Flows     int64     `json:"flows"`
	Count     int64     `json:"count"`
	CSPkts    int64     `json:"cspkts"`
	SCPkts    int64     `json:"scpkts"`
	CSBytes   int64     `json:"csbytes"`
	SCBytes   int64     `json:"scbytes"`
	FirstSeen time.Time `json:"firstseen"`
	LastSeen  time.Time `json:"lastseen"`
	// Times are the starts of the slots in which any of the flows was active; nil
	// unless the query asked for them.
	Times []time.Time `json:"times,omitempty"`
}

// HostQuery asks for hosts, whatever flows they have.
type HostQuery struct {
	// Addrs are their addresses; one that is there twice is found once. IPv4-mapped
	// ones are those of IPv4; no store has one with a zone.
	Addrs []netip.Addr
	// Intel is how many records of intel each host shows at most; All shows them all.
	Intel int
}

// Host is an address that flows come from or go to, or that intel is about.
type Host struct {
	Addr netip.Addr `json:"addr"`
	// FirstSeen and LastSeen bound its flows and the records of intel about it.
	FirstSeen time.Time `json:"firstseen"`
	LastSeen  time.Time `json:"lastseen"`
	// In and Out are the numbers of flows to and from it in the whole store, Clients
	// and Servers those of the hosts at their other ends: Clients of the hosts that
	// the flows to it come from. Itself is one, where it has flows to itself.
	In      int64 `json:"in"`
	Out     int64 `json:"out"`
	Clients int64 `json:"clients"`
	Servers int64 `json:"servers"`
	// Intel is what was learned about it (flow.About), in whichever flows, also those that no
	// connection tells of: names that resolve to it. Only attributes that make a node of
	// the graph (flow.Key) are shown, and records that agree in these are one, with the number
	// of them all. Order and MoreIntel are as in Flow.
	Intel     []Intel `json:"meta,omitempty"`
	MoreIntel int64   `json:"more_meta,omitempty"`
}

// TimelineQuery asks how many of the flows that a filter selects were active when.
type TimelineQuery struct {
	Filter *filter.Expr
	// After and Before bound the slots that are counted: those that begin before Before and
	// end after After, each as a whole. Zero times bound nothing.
	After, Before time.Time
	// Step is the width of the slots, a multiple of the store's precision (Status); 0 is
	// the precision. Others are refused with an error that is ErrPrecision. Slots begin at multiples
	// of it since 1970 in UTC; a flow is active in one if it is in any of the store's slots
	// inside it.
	Step time.Duration
	// By counts the flows of each slot apart by the values of these attributes, as TopQuery.Fields
	// groups them: a flow counts in the group of each of its values.
	By []string
}

// TimelineSlot is how many flows were active in a slot, those of one group. A flow counts once in
// each slot in which it was active.
type TimelineSlot struct {
	Start time.Time
	// Fields holds a value for each of the query's By, as TopRow.Fields; nil without any.
	Fields []any
	Flows  int64
}

// Statement is a text in the store's own language, with its arguments by name.
type Statement struct {
	Text string         `json:"text"`
	Args map[string]any `json:"args,omitempty"`
}

// Column is a column of a raw query's result.
type Column struct {
	Name string
	// Type is the store's name of the type.
	Type string
}

// Rows is the result of a raw query. It must be closed.
type Rows interface {
	// Columns describes the values of a row.
	Columns() []Column
	// All yields the rows once. A row is valid until the next one. Its values
	// are nil, bool, int64, *big.Int, float64, json.Number (exact decimals),
	// string, []byte, time.Time, or []any and map[string]any of these.
	All() iter.Seq2[[]any, error]
	io.Closer
}

// Status describes the content of a store.
type Status struct {
	// Location is where the store is.
	Location string `json:"location"`
	// Format is the version of its layout.
	Format int `json:"format"`
	// Precision is the width of the slots of time, in seconds.
	Precision int64 `json:"precision"`
	// Generation grows with every change.
	Generation int64 `json:"generation"`
	// Tables describes the tables that hold something.
	Tables []TableStatus `json:"tables"`
	Parts  int64         `json:"parts"`
	Rows   int64         `json:"rows"`
	Bytes  int64         `json:"bytes"`
	// Connections is the number of connections that the rows stand for.
	Connections int64 `json:"connections"`
	// First and Last bound the records' times; nil in an empty store.
	First *time.Time `json:"first,omitempty"`
	Last  *time.Time `json:"last,omitempty"`
	// Sensors are the names of the sensors that records came from.
	Sensors []string       `json:"sensors"`
	Imports []ImportStatus `json:"imports"`
}

// TableStatus describes one table.
type TableStatus struct {
	Name  string `json:"name"`
	Parts int64  `json:"parts"`
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
	// Small and Medium count parts below a megabyte, and below sixteen.
	Small  int64 `json:"small_parts"`
	Medium int64 `json:"medium_parts"`
}

// ImportStatus describes what one import brought.
type ImportStatus struct {
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Sensor string    `json:"sensor"`
	Source string    `json:"source"`
	// Inputs are the names of the files.
	Inputs      []string         `json:"inputs,omitempty"`
	Options     string           `json:"options,omitempty"`
	Packets     uint64           `json:"packets"`
	Connections int64            `json:"connections"`
	Intel       map[string]int64 `json:"intel,omitempty"`
	// Truncated says that a part of an input was skipped, Open that the import
	// goes on, Killed that its process ended without an end of the import, Damaged
	// that a part of its records was dropped as damaged.
	Truncated bool `json:"truncated,omitempty"`
	Open      bool `json:"open,omitempty"`
	Killed    bool `json:"killed,omitempty"`
	Damaged   bool `json:"damaged,omitempty"`
	// Lost is the number of records that could not be stored.
	Lost int64 `json:"lost,omitempty"`
}

// FlowLister lists flows.
type FlowLister interface {
	// Flows yields the flows that q selects, once. After an error it ends.
	Flows(ctx context.Context, q Query) iter.Seq2[*Flow, error]
}

// Counter counts hosts and flows.
type Counter interface {
	// Counts ignores the query's order, skip and limit.
	Counts(ctx context.Context, q Query) (Counts, error)
}

// Ranker ranks groups of flows.
type Ranker interface {
	Top(ctx context.Context, q TopQuery) ([]TopRow, error)
}

// FieldLister lists attributes of flows.
type FieldLister interface {
	// Fields yields a value for each of the named attributes of the flows that q selects, once: as in
	// TopRow.Fields, for sets their distinct values in ascending order as []any (addresses as
	// texts, which they are there). It is nil where a flow has none. There must be one name at least, they
	// may repeat; Attributes.Show says which there are. Query.Times and Query.Intel are ignored. A
	// row is valid until the next one. After an error it ends.
	Fields(ctx context.Context, q Query, names []string) iter.Seq2[[]any, error]
}

// PairLister lists pairs of hosts.
type PairLister interface {
	// Pairs yields pairs, once. After an error it ends.
	Pairs(ctx context.Context, q PairQuery) iter.Seq2[*Pair, error]
}

// HostFinder finds hosts.
type HostFinder interface {
	// Hosts returns those of the hosts that are in the store, in the order of the query.
	Hosts(ctx context.Context, q HostQuery) ([]*Host, error)
}

// Timekeeper counts flows over time.
type Timekeeper interface {
	// Timeline returns the slots in which there were flows, in the order of time, then by
	// the number of flows, the greatest first, then by the fields.
	Timeline(ctx context.Context, q TimelineQuery) ([]TimelineSlot, error)
}

// Explainer says how a store finds its answers.
type Explainer interface {
	// Explain calls ask with a Reader that runs nothing that reads flows or intel: every question
	// has an empty answer, or the error that it has without that. It returns what would have been run,
	// in which values of a filter are arguments. An error of ask is returned.
	Explain(ctx context.Context, ask func(Reader) error) ([]Statement, error)
}

// RawQuerier runs a query in the store's own language.
type RawQuerier interface {
	// Raw runs a query that must not change anything: others are refused with
	// a *QueryError.
	Raw(ctx context.Context, text string) (Rows, error)
}

// Reporter describes the store.
type Reporter interface {
	Status(ctx context.Context) (*Status, error)
}

// Reader answers every question. It is safe for concurrent use; each answer
// comes from one consistent snapshot.
type Reader interface {
	FlowLister
	FieldLister
	PairLister
	HostFinder
	Timekeeper
	Counter
	Ranker
	Explainer
	RawQuerier
	Reporter
	io.Closer
}

// ErrPrecision says that a width of slots of time is not a multiple of the store's.
var ErrPrecision = errors.New("not a multiple of the store's precision")

// ErrMemory says that a query needs more memory than it may use.
var ErrMemory = errors.New("the query needs more memory than it may use")

// QueryError says what is wrong with a raw query.
type QueryError struct {
	Msg string
	// Offset is where in the text, in bytes, or -1.
	Offset int
	// Writes says that nothing is wrong but that the query changes the store.
	Writes bool
}

// Error implements error.
func (e *QueryError) Error() string { return e.Msg }

// AttributeError says that an attribute cannot be used as asked.
type AttributeError struct {
	// Name is the attribute, Use what it was wanted for ("order by", "sum").
	Name, Use string
	// Known lists the attributes that can.
	Known []string
}

// Error implements error.
func (e *AttributeError) Error() string {
	return fmt.Sprintf("cannot %s %q: expected one of %s", e.Use, e.Name, strings.Join(e.Known, ", "))
}
