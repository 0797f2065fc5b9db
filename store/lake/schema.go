// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"time"

	"weir/internal/flow"
)

// ConnTable is the name of the table of connections; the other tables are
// named after the kinds of intel.
const ConnTable = "conn"

// RollupTable is the name of the table of roll-ups, see Rollup.
const RollupTable = "flow_day"

// WeekTable is the name of the table of the roll-ups of weeks, see WeekRollup.
const WeekTable = "flow_week"

// ColumnType is the type of a column's values, the same for every engine that
// reads the parts.
type ColumnType uint8

// Column types. Integers are signed, timestamps are UTC in microseconds,
// addresses are 16 bytes (IPv4 mapped) that sort numerically within a family.
const (
	Int32         ColumnType = iota // INT32
	Int64                           // INT64
	Double                          // DOUBLE
	Boolean                         // BOOLEAN
	String                          // BYTE_ARRAY, UTF-8
	Timestamp                       // INT64, microseconds since 1970, UTC
	Address                         // FIXED_LEN_BYTE_ARRAY(16)
	Int64List                       // LIST of INT64
	StringList                      // LIST of BYTE_ARRAY, UTF-8
	DoubleList                      // LIST of DOUBLE
	Int32List                       // LIST of INT32
	TimestampList                   // LIST of INT64, microseconds since 1970, UTC
)

// SQL returns the name of the type in SQL, as DuckDB spells it.
func (t ColumnType) SQL() string {
	switch t {
	case Int32:
		return "INTEGER"
	case Int64:
		return "BIGINT"
	case Double:
		return "DOUBLE"
	case Boolean:
		return "BOOLEAN"
	case String:
		return "VARCHAR"
	case Timestamp:
		return "TIMESTAMP WITH TIME ZONE"
	case Address:
		return "BLOB"
	case Int64List:
		return "BIGINT[]"
	case StringList:
		return "VARCHAR[]"
	case DoubleList:
		return "DOUBLE[]"
	case Int32List:
		return "INTEGER[]"
	case TimestampList:
		return "TIMESTAMP WITH TIME ZONE[]"
	}
	return ""
}

// list reports whether values are lists.
func (t ColumnType) list() bool { return t >= Int64List && t <= TimestampList }

// integer reports whether values of the type are integers.
func (t ColumnType) integer() bool { return t == Int32 || t == Int64 }

// Column is one column of a table.
type Column struct {
	Name string
	Type ColumnType
	// Nullable columns have no value where the attribute is missing.
	Nullable bool
	// Since is the first Part.Schema with the column. Its values are missing in
	// older parts.
	Since int
}

// Table is one kind of record: a directory of parts with the same columns.
type Table struct {
	// Name is the name of the directory and of the view.
	Name    string
	Columns []Column
	// Schema is the version of Columns: the Part.Schema of new parts.
	Schema int
}

// ConnSchema is the Part.Schema of parts of connections with all of
// ConnColumns. Parts of 0 lack loss.
const ConnSchema = 1

// Conns returns the table of connections.
func Conns() Table { return Table{Name: ConnTable, Columns: ConnColumns(), Schema: ConnSchema} }

// Tables returns every table of the lake: conn, then one for each kind of
// intel, in the order of flow.Kinds.
func Tables() []Table {
	kinds := flow.Kinds()
	tables := make([]Table, 0, 1+len(kinds))
	tables = append(tables, Conns())
	for i := range kinds {
		tables = append(tables, Table{Name: kinds[i].Name, Columns: IntelColumns(flow.Kind(i))})
	}
	return tables
}

// ConnColumns returns the columns of the table of connections, in the order
// in which parts hold them.
func ConnColumns() []Column {
	return []Column{
		{Name: "uid", Type: Int64},
		{Name: "sensor", Type: String},
		{Name: "firstseen", Type: Timestamp},
		{Name: "lastseen", Type: Timestamp},
		{Name: "src", Type: String},
		{Name: "dst", Type: String},
		{Name: "src_bin", Type: Address},
		{Name: "dst_bin", Type: Address},
		{Name: "sport", Type: Int32, Nullable: true},
		{Name: "dport", Type: Int32, Nullable: true},
		{Name: "type", Type: Int32, Nullable: true},
		{Name: "code", Type: Int32, Nullable: true},
		{Name: "proto", Type: String},
		{Name: "ip_proto", Type: Int32},
		{Name: "service", Type: String, Nullable: true},
		{Name: "conn_state", Type: String, Nullable: true},
		{Name: "history", Type: String, Nullable: true},
		{Name: "end_reason", Type: Int32},
		{Name: "cspkts", Type: Int64},
		{Name: "scpkts", Type: Int64},
		{Name: "csbytes", Type: Int64},
		{Name: "scbytes", Type: Int64},
		{Name: "cspayload", Type: Int64},
		{Name: "scpayload", Type: Int64},
		{Name: "missed_bytes", Type: Int64},
		{Name: "vlan", Type: Int32, Nullable: true},
		{Name: "tunnel_parents", Type: Int64List, Nullable: true},
		{Name: "count", Type: Int64},
		{Name: "loss", Type: Boolean, Since: 1},
	}
}

// SlotWidth is the width of the slots of time that flows count for, as the column
// times of roll-ups has them.
const SlotWidth = time.Hour

// Rollup returns the table of roll-ups: the flows of closed days, a row for a
// flow and day, made of the connections of the parts that a roll-up covers.
// Tables does not list it, since it holds no records of its own.
func Rollup() Table {
	return Table{Name: RollupTable, Columns: []Column{
		{Name: "src", Type: String},
		{Name: "dst", Type: String},
		{Name: "src_bin", Type: Address},
		{Name: "dst_bin", Type: Address},
		{Name: "proto", Type: String},
		{Name: "dport", Type: Int32, Nullable: true},
		{Name: "type", Type: Int32, Nullable: true},
		{Name: "sports", Type: Int32List},
		{Name: "codes", Type: Int32List},
		{Name: "count", Type: Int64},
		{Name: "cspkts", Type: Int64},
		{Name: "scpkts", Type: Int64},
		{Name: "csbytes", Type: Int64},
		{Name: "scbytes", Type: Int64},
		{Name: "firstseen", Type: Timestamp},
		{Name: "lastseen", Type: Timestamp},
		{Name: "conn_state", Type: StringList},
		{Name: "service", Type: StringList},
		{Name: "vlan", Type: Int32List},
		{Name: "sensor", Type: StringList},
		{Name: "times", Type: TimestampList},
		{Name: "time_counts", Type: Int64List},
	}}
}

// WeekRollup returns the table of roll-ups of weeks: the flows of closed days of the same week,
// a row for a flow, made of the roll-ups of these days, which stay. Where all of a lake lies in
// one week nothing has to be put together to answer questions about flows.
func WeekRollup() Table { return Table{Name: WeekTable, Columns: Rollup().Columns} }

// IsRollup reports whether a table is made of the rows of others.
func IsRollup(kind string) bool { return kind == RollupTable || kind == WeekTable }

// IntelColumns returns the columns of the table of a kind of intel: whose
// connection it was seen in, and the attributes of the kind that are stored.
func IntelColumns(kind flow.Kind) []Column {
	columns := []Column{
		{Name: "uid", Type: Int64},
		{Name: "sensor", Type: String},
		{Name: "ts", Type: Timestamp},
		{Name: "src", Type: String},
		{Name: "dst", Type: String},
		{Name: "src_bin", Type: Address},
		{Name: "dst_bin", Type: Address},
		{Name: "sport", Type: Int32, Nullable: true},
		{Name: "dport", Type: Int32, Nullable: true},
		{Name: "proto", Type: String},
	}
	for _, attr := range flow.Kinds()[kind].Attrs {
		if attr.LogOnly {
			continue
		}
		columns = append(columns, Column{
			Name: attr.Column, Type: attributeType(attr.Type), Nullable: true,
		})
	}
	return columns
}

// attributeType says how values of an attribute are stored. Intervals become
// seconds, as in Zeek's logs.
func attributeType(t flow.AttrType) ColumnType {
	switch t {
	case flow.Count:
		return Int64
	case flow.Bool:
		return Boolean
	case flow.Interval:
		return Double
	case flow.TextList:
		return StringList
	case flow.IntervalList:
		return DoubleList
	case flow.Text:
	}
	return String
}
